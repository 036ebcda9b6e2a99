/** What a course of training will take, before it begins: time from the model's own speed at reading, memory from shapes. Pure but for `paceOf`, which asks the model. */

/** A step of training reads, and goes back through the same weights for the gradients, which costs about as much again as twice reading. */
const BACK = 2;
const READ = 128; // tokens of the trial reading
const EXACT = 2.5; // times longer with f32 products
const ADAM = 4; // floats for each parameter: itself, its gradient, two moments
const WIDTHS = 40; // floats of each token and layer that are kept for the way back, in widths of the model: rows, gates, attention

/** Tokens a second of reading, asked of the loaded model with the text to learn from. @param {any} session @param {string} text @returns {Promise<{pace: number, tokensPerByte: number}>} */
export async function paceOf(session, text) {
  const part = text.slice(0, 8 * READ);
  const tokens = await session.encode(part);
  const paces = [];
  for (const first of [0, READ]) if (tokens.length > first) paces.push(await timed(session, tokens.slice(first, first + READ)));
  return { pace: Math.max(0, ...paces), tokensPerByte: tokens.length / new TextEncoder().encode(part).length };
}

/** The first reading wakes the engine, so the faster of two counts; what the cache knew was not read. */
async function timed(session, tokens) {
  const { timings, usage } = await session.complete({ tokens }, { maxTokens: 1, temperature: 0, adapters: [] });
  return timings.prefillMs > 0 ? (1000 * (usage.prompt - usage.cached)) / timings.prefillMs : 0;
}

/**
 * @param {{pace: number, tokensPerByte: number}} speed @param {{maxSteps: number, maxEpochs?: number, batchSize?: number, maxLength: number, dots: string, r: number, targetModules: string[]}} config
 * @param {{bytes: number, model: number, parameters: number, threads?: number, trained?: number}} sizes of the texts, of the model in memory; weights of the model; how many
 *   times more threads training has than reading; tokens a second of the last course, where there was one
 * @returns {{seconds: number, bytes: number, steps: number, tokens: number, passes: number}} `passes`: how often all of the text is read
 */
export function estimate({ pace, tokensPerByte }, { maxSteps, maxEpochs = 0, batchSize = 1, maxLength, dots, r, targetModules }, { bytes, model, parameters, threads = 1, trained = 0 }) {
  const tokens = Math.max(1, Math.round(bytes * tokensPerByte));
  const row = Math.min(maxLength, tokens) * batchSize;
  const steps = Math.min(maxSteps, maxEpochs ? Math.ceil((maxEpochs * tokens) / row) : maxSteps);
  const rate = trained || ((pace * threads) / (1 + BACK)) / (dots === "f32" ? EXACT : 1);
  const seconds = rate > 0 ? (steps * row) / rate : 0;
  const { width, layers } = shapeOf(parameters);
  const learned = 2 * r * width * layers * targetModules.length * 4 * ADAM;
  return { seconds, bytes: Math.round(model + learned + row * layers * width * WIDTHS), steps, tokens, passes: (steps * row) / tokens };
}

/** A usual transformer of so many weights: layers of 12 widths squared, one for each 40 of width. */
function shapeOf(parameters) {
  const width = Math.cbrt((parameters * 40) / 12);
  return { width, layers: Math.max(1, width / 40) };
}
