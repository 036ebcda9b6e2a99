/**
 * `session.adapters`: LoRA adapters of a loaded language model. Page. They stay apart from the weights: a request says which it wants, at what scale.
 */
import { openUrl } from "./download.js";
import { InvalidOption } from "./errors.js";
import { byPath } from "./local-model.js";
import { progressTo } from "./progress.js";

/**
 * @typedef {string | {id: string, scale?: number}} AdapterChoice an adapter by its id, at scale 1 or another
 * @typedef {Blob | ArrayBuffer | ArrayBufferView | string | URL | {url: string | URL} | {file: Blob} | {files: Iterable<Blob> | Record<string, Blob>}} AdapterSource one file, its
 *   address, or the files of a PEFT folder (`adapter_config.json`, `adapter_model.safetensors`); a zip of one, a GGUF adapter, EdgeNet's JSON
 * @typedef {object} AdapterInfo
 * @property {string} id @property {string} hash of its bytes, SHA-256 @property {number} rank the highest of its factors @property {number} bytes room in the engine's pool
 * @property {number} slot in the pool; -1: it made room for others and comes back when it is asked for @property {boolean} pinned it never makes room
 * @property {string} name its own @property {string} adapter its own id: what does the same has the same @property {string} family @property {string} checksum
 * @property {string} baseSha256 of the file it was trained on; "" where nobody told
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
   * @param {AdapterSource} source @param {{id?: string, pinned?: boolean} & import("./session.js").CallOptions} [options] `id`: else its own name; one that is taken is replaced;
   *   `pinned`: it never makes room for others
   * @returns {Promise<AdapterInfo>} @throws InvalidAdapter, AdapterMismatch (made for another model), AdapterPoolFull
   */
  async load(source, { id, pinned, signal, onProgress } = {}) {
    const onEvent = progressTo(this.#session.id, onProgress ? [onProgress] : []);
    const files = await filesOf(source, signal, onEvent);
    return this.#session.askWorker("lm.adapters.load", { files, id, pinned }, { signal, onEvent });
  }

  /** Requests that run with it end with it. @param {string} id @returns {Promise<void>} @throws AdapterNotFound */
  async unload(id) {
    await this.#session.askWorker("lm.adapters.unload", { id });
    this.#used = this.#used.filter((one) => one.id !== id);
  }

  /** @returns {Promise<AdapterList>} */
  list() { return this.#session.askWorker("lm.adapters.list"); }
}

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
