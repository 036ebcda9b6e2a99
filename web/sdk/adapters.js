/**
 * `session.adapters`: LoRA adapters of a loaded language model. Page. They stay apart from the weights: a request says which it wants, at what scale.
 */
import { openUrl } from "./download.js";
import { InvalidOption } from "./errors.js";
import { byPath } from "./local-model.js";
import { progressTo } from "./progress.js";

/**
 * @typedef {string | {id: string, scale?: number}} AdapterChoice an adapter by its id, at scale 1 or another
 * @typedef {Blob | ArrayBuffer | ArrayBufferView | string | URL | {url: string | URL} | {file: Blob} | {files: Iterable<Blob> | Record<string, Blob>}} AdapterFiles one file, its
 *   address, or the files of a PEFT folder (`adapter_config.json`, `adapter_model.safetensors`); a zip of one, a GGUF adapter, EdgeNet's JSON
 * @typedef {AdapterFiles | import("./trainer.js").TrainedAdapter | {saved: string}} AdapterSource files, what a trainer answered, or a saved one by its id
 * @typedef {object} AdapterInfo
 * @property {string} id @property {string} hash of its bytes, SHA-256 @property {number} rank the highest of its factors @property {number} bytes room in the engine's pool
 * @property {number} slot in the pool; -1: it made room for others and comes back when it is asked for @property {boolean} pinned it never makes room
 * @property {string} name its own @property {string} adapter its own id: what does the same has the same @property {string} family @property {string} checksum
 * @property {string} baseSha256 of the file it was trained on; "" where nobody told
 * @typedef {object} SavedAdapter one that this origin keeps
 * @property {string} id what does the same has the same @property {string} name @property {number} rank @property {string[]} modules @property {number} bytes of its factors
 * @property {string} baseId of the model it is for @property {string} family @property {string} created
 * @property {any} metrics what was told when it was kept: of a training its `TrainingMetrics`, of a merge `{merge: …}`
 * @typedef {{strategy?: "average" | "weighted" | "task_arithmetic" | "slerp" | "ties" | "dare_linear" | "dare_ties", interpolation?: number, density?: number, scaling?: number,
 *   majoritySignMethod?: "total" | "frequency", rank?: number, seed?: number, name?: string, signal?: AbortSignal}} MergeHow see docs/merging.md
 * @typedef {{slots: number, bytes: number, free: number, adapters: AdapterInfo[]}} AdapterList of the pool, in bytes; the adapter used last first
 */

/** @param {AdapterChoice | AdapterChoice[] | null} [given] @returns {{id: string, scale: number}[]} @throws InvalidOption */
export function readChoice(given) {
  return [given ?? []].flat().map((one) => {
    const { id, scale = 1 } = typeof one === "string" ? { id: one } : Object(one);
    if (typeof id === "string" && Number.isFinite(scale)) return { id, scale };
    throw new InvalidOption('Adapters are ids, or {id, scale}: "mine", or [{id: "mine", scale: 0.5}].', { option: "adapters" });
  });
}

export class SessionAdapters {
  #session;
  /** @type {{id: string, scale: number}[]} */ #used = [];

  /** @param {import("./session.js").InferenceSession} session */
  constructor(session) {
    this.#session = session;
  }

  /** What requests run with that name no `adapters` of their own. */
  get used() { return this.#used.map((one) => ({ ...one })); }

  /**
   * Every request from now on that names no `adapters` of its own. @param {AdapterChoice | AdapterChoice[] | null} choice null: none
   * @throws InvalidOption; that one is not loaded is told by the request
   */
  use(choice) {
    this.#used = readChoice(choice);
  }

  /**
   * Loads an adapter of this model. One that was made ready for an engine is there in a moment; any other goes through Python first.
   * @param {AdapterSource} source @param {{id?: string, pinned?: boolean} & import("./session.js").CallOptions} [options] `id`: else that of a trained or saved one, or its own
   *   name; one that is taken is replaced;
   *   `pinned`: it never makes room for others
   * @returns {Promise<AdapterInfo>} @throws InvalidAdapter, AdapterMismatch (made for another model), AdapterPoolFull
   */
  async load(source, { id, pinned, signal, onProgress } = {}) {
    const onEvent = progressTo(this.#session.id, onProgress ? [onProgress] : []);
    const files = await this.#filesOf(source, signal, onEvent);
    return this.#session.askWorker("lm.adapters.load", { files, id: id ?? ownId(source), pinned }, { signal, onEvent });
  }

  /** Requests that run with it end with it. @param {string} id @returns {Promise<void>} @throws AdapterNotFound */
  async unload(id) {
    await this.#session.askWorker("lm.adapters.unload", { id });
    this.#used = this.#used.filter((one) => one.id !== id);
  }

  /** @returns {Promise<AdapterList>} */
  list() { return this.#session.askWorker("lm.adapters.list"); }

  // --- those that this origin keeps
  /** Of this model, the latest first. @returns {Promise<SavedAdapter[]>} */
  saved() { return this.#library("list"); }

  /**
   * Keeps an adapter in this origin's storage; one that does the same is replaced, and a training that is done is discarded. @param {import("./trainer.js").TrainedAdapter | AdapterFiles} source
   * @param {{name?: string, metrics?: any, signal?: AbortSignal}} [options] `metrics`: else those of the training @returns {Promise<SavedAdapter>}
   * @throws AdapterExists (another has the name), AdapterMismatch, InvalidAdapter, StorageError
   */
  async keep(source, { name, metrics, signal } = {}) {
    if (isTrained(source)) return this.#session.askWorker("lm.train.keep", { packed: await bytesOf(source.packed), name, metrics: metrics ?? source.metrics, run: source.run }, { signal });
    const files = await filesOf(source, signal, () => {});
    const bytes = await Promise.all(Object.entries(files).map(async ([path, blob]) => [path, await bytesOf(blob)]));
    return this.#library("import", { files: Object.fromEntries(bytes), name, metrics }, { signal });
  }

  /** As `keep`, of files. @param {AdapterFiles} source @param {{name?: string, metrics?: any, signal?: AbortSignal}} [options] @returns {Promise<SavedAdapter>} */
  import(source, options) { return this.keep(source, options); }

  /** @param {string} id @param {string} name @returns {Promise<SavedAdapter>} @throws AdapterNotFound, AdapterExists, InvalidAdapter */
  rename(id, name) { return this.#library("rename", { id, name }); }

  /** Forgets a saved adapter; where it is loaded it stays loaded. @param {string} id @returns {Promise<void>} @throws AdapterNotFound */
  remove(id) { return this.#library("remove", { id }); }

  /** A saved adapter as a file: a zip of PEFT's folder, EdgeNet's JSON, or GGUF for llama.cpp. @param {string} id @param {"peft" | "json" | "gguf"} [format] @returns {Promise<File>} */
  async export(id, format = "peft") {
    const { bytes, name, type } = await this.#library("export", { id, format });
    return new File([bytes], name, { type });
  }

  /**
   * One adapter out of several saved ones, kept beside them. @param {(string | {id: string, weight?: number})[]} adapters @param {MergeHow} [how]
   * @returns {Promise<SavedAdapter>} `metrics.merge`: how it came about and the relative error of the refit @throws InvalidOption, AdapterMismatch, AdapterExists
   */
  merge(adapters, { name, signal, ...options } = {}) {
    const given = adapters.map((one) => (typeof one === "string" ? { id: one } : one));
    const weights = given.some(({ weight }) => weight !== undefined) ? given.map(({ weight = 1 }) => weight) : undefined;
    return this.#library("merge", { ids: given.map(({ id }) => id), options: weights ? { ...options, weights } : options, name }, { signal });
  }

  /** @param {string} kind @param {any} [args] @param {import("../workers/rpc.js").CallOptions} [options] */
  #library(kind, args, options) {
    return this.#session.askWorker(`lm.library.${kind}`, args, options);
  }

  /** @param {AdapterSource} source @param {AbortSignal | undefined} signal @param {(event: any) => void} onEvent @returns {Promise<Record<string, Blob>>} by path */
  async #filesOf(source, signal, onEvent) {
    if (isTrained(source)) return { [source.name]: source.ready };
    const { saved } = /** @type {any} */ (Object(source));
    if (typeof saved !== "string") return filesOf(source, signal, onEvent);
    const { name, bytes } = await this.#library("ready", { id: saved }, { signal, onEvent });
    return { [name]: new Blob([bytes]) };
  }
}

/** @param {any} source @returns {source is import("./trainer.js").TrainedAdapter} */
const isTrained = (source) => source?.packed instanceof Blob && source.ready instanceof Blob;

/** @param {any} source @returns {string | undefined} */
const ownId = (source) => (isTrained(source) ? source.id : Object(source).saved);

const bytesOf = async (/** @type {Blob} */ blob) => new Uint8Array(await blob.arrayBuffer());

/** @param {any} source @param {AbortSignal | undefined} signal @param {(event: any) => void} onEvent @returns {Promise<Record<string, Blob>>} by path */
async function filesOf(source, signal, onEvent) {
  const { file = source, files, url = source } = Object(source);
  if (files) return byPath(files);
  if (file instanceof Blob) return { [/** @type {File} */ (file).name ?? "adapter"]: file };
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return { adapter: new Blob([/** @type {any} */ (source)]) };
  if (typeof url !== "string" && !(url instanceof URL)) throw new InvalidOption("An adapter is a file (Blob or bytes), {url} of one, or {files} of a PEFT folder.", { option: "source" });
  const { href, pathname } = new URL(url, globalThis.document?.baseURI);
  const name = pathname.split("/").pop() || "adapter";
  const remote = await openUrl(href, signal);
  return { [name]: await remote.download((loaded, total) => onEvent({ status: "progress", phase: "download", file: name, loaded, total })) };
}
