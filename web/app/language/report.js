/** How a language model runs here and how fast an answer was, in words. Pure but for the dialog's rows, which are plain data. */
import { bytes, count } from "../format.js";

/** (7_400_000) → "7.4 million". @param {number} n */
export function million(n) {
  const [value, unit] = n >= 1e9 ? [n / 1e9, "billion"] : [n / 1e6, "million"];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** How far a step of loading is. @param {import("./models.js").Phase["part"]} part */
export const partOf = (part) => (!part ? "" : part.unit === "bytes" ? `${bytes(part.loaded)} of ${bytes(part.total)}` : `${part.loaded} of ${part.total}`);

/** What is known of a model before it is loaded. @param {import("./models.js").Choice} choice @returns {string[]} */
export const factsOf = ({ size, trust, facts: { architecture, parameters, quantization, context, memory } }) =>
  [
    architecture,
    parameters && `${million(parameters)} weights`,
    quantization,
    bytes(size),
    memory && `needs about ${bytes(memory)} of memory`,
    context && `reads ${count(context, "token")}`,
    trust === "signed" ? "signed by this site" : "unsigned: a file of yours, nobody vouches for it",
  ].filter(Boolean);

/** Tokens a second after the first one; null where there was no second. @param {import("../../sdk/language-session.js").Completion} completion */
export const speed = ({ usage, timings }) => (usage.completion > 1 && timings.decodeMs > 0 ? ((usage.completion - 1) * 1000) / timings.decodeMs : null);

/** Which adapter was chosen by what was asked; nothing where one was named. @param {import("../../sdk/language-session.js").Completion} completion */
const chosenOf = ({ routed }) => (routed ? `by \u201c${routed.name}\u201d (likeness ${routed.score.toFixed(2)})` : routed === null && "no adapter fitted");

const ENDS = { length: "ended at the length set", context: "ended: the context is full", abort: "stopped", stop: null };

/** @param {import("../../sdk/language-session.js").Completion} completion @returns {string[]} */
export function toldOf(completion) {
  const { usage, timings, reason } = completion;
  const rate = speed(completion);
  return [
    rate && `${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s`,
    timings.firstMs > 0 && `first token after ${Math.round(timings.firstMs)} ms`,
    count(usage.completion, "token"),
    `prompt ${usage.prompt.toLocaleString("en")}${usage.cached ? `, ${usage.cached.toLocaleString("en")} of it cached` : ""}`,
    ENDS[reason],
    chosenOf(completion),
  ].filter(Boolean);
}

/** Bytes that a loaded model holds. @param {import("../../sdk/language-session.js").LanguageSession} session */
export function memoryOf(session) {
  const { modelBytes, kvCacheBytes, arenaBytes = 0 } = session.getMemoryInfo();
  return modelBytes + kvCacheBytes + arenaBytes;
}

/**
 * Rows of the dialog: what, its value, why. @param {import("./models.js").LanguageModels} language
 * @returns {[string, string, string][]} empty when no model is loaded
 */
export function runningOf({ session, chosen }) {
  if (!session) return [];
  const { architecture, parameters, context, threads, build, isolated, why } = session.info;
  const memory = session.getMemoryInfo();
  const reasons = (why ?? []).map(({ reason }) => reason).join(" ");
  return [
    ["Model", chosen.value?.name ?? session.id, [architecture, parameters && `${million(parameters)} weights`, `${count(context, "token")} of prompt and answer together`].filter(Boolean).join(", ") + "."],
    ["Signature", session.trust, session.trust === "signed" ? "Every byte was checked against a list signed by this site." : "A file of yours. EdgeNet checked that it is sound, but nobody vouches for it."],
    ["Threads", String(threads), threads > 1 ? "So many were fastest when the model was loaded." : isolated ? "One was fastest when the model was loaded." : "Several need an isolated page."],
    ["Engine", build, reasons || "Nothing keeps it from being faster here."],
    ["Memory", bytes(memoryOf(session)), `Weights ${bytes(memory.modelBytes)}, room for what is read (KV cache) ${bytes(memory.kvCacheBytes)}, working space ${bytes(memory.arenaBytes ?? 0)}. The engine's memory in all is ${bytes(memory.wasmBytes)}.`],
  ];
}
