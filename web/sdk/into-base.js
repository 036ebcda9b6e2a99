/**
 * `session.adapters.mergeIntoBase`: the loaded model with saved adapters in its weights, as one GGUF file. Page. Python makes it piece by piece; it lies
 * on disk from its first byte on, and is nobody's model until it is loaded.
 */
import { InvalidOption } from "./errors.js";
import { checkCall } from "./options.js";
import { LoraTrainer, readExamples } from "./trainer.js";

/**
 * @typedef {import("./trainer.js").EvaluationResult} EvaluationResult
 * @typedef {string | {id: string, weight?: number}} MergePart a saved adapter by its id
 * @typedef {object} IntoBaseOptions beside those of `merge`, where several adapters are merged first
 * @property {string} [type] what the matrices that change are quantised to, such as "q8_0"; each to its own type where it is left out
 * @property {Iterable<import("./trainer.js").Example> | import("./trainer.js").Example} [evaluate] texts on which the losses before and after are told; the new model is loaded for that
 * @property {(event: import("./options.js").Progress) => void} [onProgress] phases, each from 0 to 100: `merge` (modules), `evaluate`, and `write`: bytes of the new file
 *
 * @typedef {object} IntoBaseReport
 * @property {{tensor: string, from: string, to: string, error: number}[]} tensors that changed, their types before and after
 * @property {number} error of all together: what quantising lost of the change, over the change @property {number} bytes of the file
 *
 * @typedef {object} MergedModel
 * @property {File} file on disk, until it is discarded or this page is closed: to load, or to save
 * @property {IntoBaseReport} report @property {any} merge how the adapters became one, as `metrics.merge` of a merged one
 * @property {{before: EvaluationResult, adapter: EvaluationResult, after: EvaluationResult | null} | null} evaluation `before`: the model as it was; `adapter`: with the adapter
 *   beside it; `after`: the new model, null where it could not be loaded beside this one (a notice says why)
 * @property {() => Promise<void>} discard removes the file; with the loader's `dispose` it goes by itself
 */

/** Progress that begins anew with each phase. @param {string} name the model's id @param {((event: import("./options.js").Progress) => void) | undefined} onProgress @returns {(event: any) => void} */
export const phasesTo = (name, onProgress) => (event) => { if (event?.phase) onProgress?.({ name, ...event }); };

/** What Python takes of adapters and a strategy. @param {MergePart | MergePart[]} adapters @param {any} options @throws InvalidOption */
export function readParts(adapters, options) {
  const given = [adapters].flat().map((one) => (typeof one === "string" ? { id: one } : Object(one)));
  if (given.some(({ id }) => typeof id !== "string")) throw new InvalidOption('What is merged are ids of saved adapters, or {id, weight}: ["a", {id: "b", weight: 0.5}].', { option: "adapters" });
  const weights = given.some(({ weight }) => weight !== undefined) ? given.map(({ weight = 1 }) => weight) : undefined;
  return { ids: given.map(({ id }) => id), options: weights ? { ...options, weights } : options };
}

/**
 * @param {import("./session.js").InferenceSession} session @param {MergePart | MergePart[]} adapters @param {IntoBaseOptions & import("./adapters.js").MergeHow} [how]
 * @returns {Promise<MergedModel>}
 */
export async function mergeIntoBase(session, adapters, how = {}) {
  checkCall(how);
  const { type, name, evaluate, signal, onProgress, ...options } = how;
  const onEvent = phasesTo(session.id, onProgress);
  const data = evaluate === undefined ? undefined : await readExamples(evaluate);
  const answer = await session.askWorker("lm.library.into", { ...readParts(adapters, options), type, name, data }, { signal, onEvent });
  const discard = () => session.giveBack(answer.made);
  try {
    const evaluation = data ? await evaluated(session, answer, data, { signal, onProgress }) : null;
    return { file: answer.file, report: answer.into, merge: answer.merge, evaluation, discard };
  } catch (error) {
    await discard().catch(() => {});
    throw error;
  }
}

/** The file is worth keeping also where there is no room for a second model. @param {import("./session.js").InferenceSession} session @param {any} answer @param {any} data @param {any} call */
async function evaluated(session, { file, evaluation: [before, adapter] }, data, call) {
  const work = (/** @type {any} */ merged) => new LoraTrainer(merged, {}).evaluate(data, { adapter: null, ...call });
  const after = await session.beside({ file }, work, call).catch((error) => {
    call.signal?.throwIfAborted();
    session.notice("merged_not_evaluated", `The new model is there; its loss is not known, for it could not be loaded beside this one: ${error.message}`);
    return null;
  });
  return { before, adapter, after };
}
