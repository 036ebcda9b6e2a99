/**
 * The ModelLoader's options: defaults, limits, and no unknown name let through. Page, worker and Node.
 */
import { InvalidOption, NotSupported } from "./errors.js";

/**
 * @typedef {object} ModelLoaderOptions
 * @property {{maxSize?: number}} [cache] `maxSize` in bytes
 * @property {{primary?: string, fallback?: string[], timeout?: number}} [sources] source types in order; `timeout` in ms without a byte
 * @property {{parallel?: number, retries?: number, progressCallback?: (event: Progress) => void}} [download]
 * @property {"auto" | "wasm" | "webgpu"} [backend] "auto" is "wasm" today; "webgpu" by name is an error, not a silent fallback
 * @property {{maxModels?: number}} [memory]
 * @property {"auto" | number} [threads]
 * @property {Partial<Record<string, string>>} [urls] see `place.js`
 * @property {"auto" | boolean} [frame]
 * @property {{save?: boolean}} [teaching]
 * @property {{runCode?: boolean, patience?: number}} [testing] for tests of EdgeNet itself: let the Python worker run code given to it; ms of
 *   silence after which a working engine counts as hung
 *
 * @typedef {object} Progress
 * @property {"initiate" | "download" | "progress" | "done" | "ready" | "fallback"} status
 * @property {"manifest" | "download" | "verify" | "compile" | "read" | "repack" | "warmup" | "embed" | "prefill" | "python" | "merge" | "evaluate" | "write"} [phase]
 * @property {string} [name] @property {string} [file]
 * @property {number} [loaded] bytes, or texts in phase `embed`, tokens in `prefill`, modules in `merge` @property {number} [total] @property {number} [progress] 0 to 100
 * @property {string} [code] @property {string} [reason]
 */

const count = (/** @type {any} */ v) => Number.isInteger(v) && v >= 1;
const positive = (/** @type {any} */ v) => Number.isFinite(v) && v > 0;
const text = (/** @type {any} */ v) => typeof v === "string" && v !== "";
const flag = (/** @type {any} */ v) => typeof v === "boolean";
const oneOf = (/** @type {any[]} */ ...all) => (/** @type {any} */ v) => all.includes(v);

/** name → [default, check, what is allowed]. Names with a dot are nested. @type {Record<string, [any, (v: any) => boolean, string]>} */
const TABLE = {
  "cache.maxSize": [2 * 1024 ** 3, positive, "bytes, above 0"],
  "sources.primary": [undefined, text, 'a source type such as "cdn" or "ipfs"'],
  "sources.fallback": [undefined, (v) => Array.isArray(v) && v.every(text), "a list of source types"],
  "sources.timeout": [30000, positive, "milliseconds, above 0"],
  "download.parallel": [4, count, "a whole number from 1"],
  "download.retries": [3, (v) => Number.isInteger(v) && v >= 0, "a whole number from 0"],
  "download.progressCallback": [undefined, (v) => typeof v === "function", "a function"],
  backend: ["auto", oneOf("auto", "wasm", "webgpu"), '"auto" or "wasm"'],
  "memory.maxModels": [2, count, "a whole number from 1"],
  threads: ["auto", (v) => v === "auto" || count(v), '"auto" or a whole number from 1'],
  urls: [{}, (v) => v !== null && typeof v === "object", "an object of addresses"],
  frame: ["auto", oneOf("auto", true, false), '"auto", true or false'],
  "teaching.save": [true, flag, "true or false"],
  "testing.runCode": [false, flag, "true or false"],
  "testing.patience": [120000, positive, "milliseconds, above 0"],
};
const GROUPS = new Set(Object.keys(TABLE).filter((name) => name.includes(".")).map((name) => name.split(".")[0]));

/**
 * The options with every default filled in, one level of nesting.
 * @param {ModelLoaderOptions} given
 * @returns {any} of the shape of ModelLoaderOptions
 * @throws InvalidOption for an unknown name or a value out of range, NotSupported for a backend that no model runs on
 */
export function readOptions(given = {}) {
  const flat = flatten(given);
  /** @type {any} */
  const out = {};
  for (const [name, [fallback, allowed, what]] of Object.entries(TABLE)) {
    const value = flat[name] ?? fallback;
    if (flat[name] != null && !allowed(value)) throw new InvalidOption(`The option ${name} cannot be ${JSON.stringify(value)}. It takes ${what}.`, { option: name });
    const [group, inner] = name.split(".");
    if (inner) (out[group] ??= {})[inner] = value;
    else out[name] = value;
  }
  if (out.backend === "webgpu") throw new NotSupported('WebGPU was asked for by name, but these models run on WebAssembly only today. Leave `backend` out or set it to "wasm".', { option: "backend" });
  return out;
}

/** {cache: {maxSize: 1}} → {"cache.maxSize": 1}. @param {any} given */
function flatten(given) {
  const flat = Object.fromEntries(Object.entries(given ?? {}).flatMap(([name, value]) =>
    (GROUPS.has(name) && value && typeof value === "object" ? Object.entries(value).map(([inner, v]) => [`${name}.${inner}`, v]) : [[name, value]])));
  const unknown = Object.keys(flat).filter((name) => !Object.hasOwn(TABLE, name));
  if (unknown.length) throw new InvalidOption(`There is no option ${unknown.join(", ")}. Known: ${Object.keys(TABLE).join(", ")}.`, { unknown });
  return flat;
}

/**
 * What a call takes beside its subject, judged before anybody is asked. A signal of another window is no instance of this one's class.
 * @param {any} options @throws InvalidOption
 */
export function checkCall(options) {
  if (options === null || typeof options !== "object") throw new InvalidOption("A call's options are an object, such as {signal}.", { option: "options" });
  const { signal } = options;
  const isSignal = typeof signal?.aborted === "boolean" && typeof signal.addEventListener === "function";
  if (signal !== undefined && signal !== null && !isSignal) throw new InvalidOption("signal must be an AbortSignal: that of an AbortController, or AbortSignal.timeout(ms).", { option: "signal" });
  for (const option of ["onEvent", "onProgress"]) {
    if (options[option] !== undefined && typeof options[option] !== "function") throw new InvalidOption(`${option} must be a function, found ${options[option]}. Leave it out for none.`, { option });
  }
}
