/**
 * ModelLoader: finds, fetches, verifies, keeps and opens models. Page. It starts nothing before the first call.
 */
import { BY_CODE, Disposed } from "./errors.js";
import { EmbeddingSession } from "./embedding-session.js";
import { openFrame } from "./frame.js";
import { Hub } from "./hub.js";
import { LanguageSession } from "./language-session.js";
import { localStore, prepareLocal, sourceName } from "./local-model.js";
import { readOptions } from "./options.js";
import { resolveUrls } from "./place.js";
import { progressTo } from "./progress.js";
import { requireSecure } from "./secure.js";
import { maker } from "./session.js";

/** @typedef {import("./options.js").ModelLoaderOptions} ModelLoaderOptions @typedef {import("./options.js").Progress} Progress */
/** @typedef {import("./session.js").InferenceSession} InferenceSession @typedef {import("./session.js").LocalSource} LocalSource */
/** @typedef {{call: (kind: string, args?: any, options?: import("../workers/rpc.js").CallOptions) => Promise<any>, close: () => void}} Backend */
/**
 * @typedef {object} LoadOptions
 * @property {string} [version] default: the newest the site lists
 * @property {"auto" | number} [threads]
 * @property {number} [context] tokens of prompt and answer together, where the model is compiled here (a file or address); default: see docs
 * @property {string} [dtype] of an ONNX decoder: "q4", "q8", "fp16", "fp32", …; default: the first of q4, q8, fp32 that is there
 * @property {AbortSignal} [signal]
 * @property {(event: Progress) => void} [onProgress]
 */

export class ModelLoader extends EventTarget {
  /** @type {Promise<Backend> | null} */ #backend = null;
  /** Open sessions, the one used longest ago first. @type {Set<InferenceSession>} */ #open = new Set();
  #events = new AbortController();
  #disposed = false;
  #remembered = localStore();

  /** @param {ModelLoaderOptions} [options] @throws InvalidOption */
  constructor(options = {}) {
    super();
    this.options = readOptions(options);
    this.urls = resolveUrls(this.options.urls);
  }

  /**
   * Opens a model: of the site by its id (what is missing is fetched and verified), or the user's own, which nobody signed. One session more than
   * `memory.maxModels` disposes the one used longest ago.
   * @param {string | LocalSource} model @param {LoadOptions} [options] @returns {Promise<InferenceSession>} as the model's type says
   */
  async load(model, options = {}) {
    const session = await this.#opened(model, options);
    this.#open.add(session);
    await this.#evict();
    return session;
  }

  /**
   * Not for callers: a model that is open for one piece of work, whatever else is. @template T
   * @param {string | LocalSource} model @param {(session: any) => Promise<T>} work @param {LoadOptions} [options] @returns {Promise<T>}
   */
  async aside(model, work, options = {}) {
    const session = await this.#opened(model, options);
    try {
      return await work(session);
    } finally {
      await session.dispose();
    }
  }

  /** @param {string | LocalSource} model @param {LoadOptions} options @returns {Promise<InferenceSession>} */
  async #opened(model, { version, threads, context, dtype, signal, onProgress }) {
    const onEvent = this.#progress(typeof model === "string" ? model : sourceName(model), onProgress);
    const compile = (/** @type {any} */ args, /** @type {any} */ options) => this.ask("python.compile", args, options);
    const what = typeof model === "string" ? { id: model, version } : { local: await prepareLocal(model, { store: this.#remembered, context, compile, signal, onEvent }) };
    const opened = await this.ask("hub.open", { ...what, threads, context, dtype }, { signal, onEvent });
    const session = opened.info ? new LanguageSession(this, opened) : new EmbeddingSession(this, opened);
    await session.restore().catch(async (error) => {
      await session.dispose().catch(() => {}); // else a worker holds what nobody has
      throw error;
    });
    onEvent({ status: "ready", phase: "warmup", progress: 100 });
    return session;
  }

  /** Fetches and verifies without opening. @param {string} id @param {LoadOptions} [options] @returns {Promise<void>} */
  async preload(id, { version, signal, onProgress } = {}) {
    const onEvent = this.#progress(id, onProgress);
    await this.ask("loader.pull", { id, version }, { signal, onEvent });
    onEvent({ status: "ready", phase: "verify", progress: 100 });
  }

  /** @param {string} id @param {{version?: string}} [options] @returns {Promise<boolean>} */
  isCached(id, { version } = {}) { return this.ask("loader.isCached", { id, version }); }

  /** @returns {Promise<any[]>} one row per cached model version */
  getCachedModels() { return this.ask("loader.cached"); }

  /** @param {string} id @param {{version?: string}} [options] all versions when none is given */
  clearCache(id, { version } = {}) { return this.ask("loader.remove", { id, version }); }

  clearAllCache() { return this.ask("loader.clear"); }

  /** @param {string} id @param {LoadOptions} [options] @returns {Promise<any>} the manifest, its signature judged */
  async getManifest(id, { version, signal } = {}) {
    return (await this.ask("loader.manifest", { id, version }, { signal })).manifest;
  }

  /** @param {{type?: string, quantization?: string}} [filter] @returns {Promise<any[]>} */
  listModels({ type, quantization } = {}) { return this.ask("loader.models", { type, quantization }); }

  /** Answered from the manifest alone, before a byte of the weights. @param {string} id @param {{version?: string}} [options] */
  checkCompatibility(id, { version } = {}) { return this.ask("loader.compatibility", { id, version }); }

  /** As a trainer's `discard`, of a training by its id: its model need not be loaded. @param {string} id @returns {Promise<void>} @throws TrainingUnderWay */
  discardTraining(id) { return this.ask("hub.forget", { run: id }); }

  /** Hashes cached bytes again and repairs them. @param {string} id @param {LoadOptions} [options] */
  verify(id, { version, signal, onProgress } = {}) {
    return this.ask("loader.verify", { id, version }, { signal, onEvent: this.#progress(id, onProgress) });
  }

  usage() { return this.ask("loader.usage"); }

  persist() { return this.ask("hub.persist"); }

  /** The kernels of the site's verified pack, then those of added packs (docs/kernels.md). @returns {Promise<import("./kernels.js").KernelInfo[]>} */
  kernels() { return this.ask("hub.kernels"); }

  /**
   * Runs an extension kernel in a memory and a worker of its own. Raises KernelNotFound, InvalidParameters, ShapeMismatch, DTypeMismatch,
   * KernelTrap (the kernel's own code in `details.returned`), a trap's error, or EpochDeadline: then the worker was ended and the next call gets a
   * fresh one. `deadline` in ms can only shorten the pack's limit; it counts from when the kernel begins.
   * @param {string} id @param {import("../engine/kernels/calls.js").KernelCall} call @param {{signal?: AbortSignal, deadline?: number}} [options]
   * @returns {Promise<{output: Float32Array, scratch?: Float32Array}>}
   */
  runKernel(id, call, { signal, deadline } = {}) { return this.ask("hub.kernels.run", { id, call, deadline }, { signal }); }

  /**
   * Adds somebody else's pack, believed by `trust` alone (the content of a trust.json whose key may "sign-kernels"). Its kernels are then
   * `<pack>/<id>`; adding a pack of the same name replaces it. Not in a frame. Raises a PackError; nothing of the pack runs then.
   * @param {string | URL} url the pack's folder @param {{trust: object | string, allowlist?: object, signal?: AbortSignal}} options
   * @returns {Promise<import("./kernels.js").KernelInfo[]>}
   */
  async addKernels(url, { trust, allowlist, signal } = /** @type {any} */ ({})) {
    return this.ask("hub.kernels.add", { url: new URL(url, globalThis.document?.baseURI).href, trust, allowlist }, { signal });
  }

  /** What this page can do and why not more. @returns {Promise<any>} see docs/sdk.md */
  status() { return this.ask("hub.status"); }

  /** Ends the workers; sessions of this loader are dead afterwards. Safe to call twice. */
  dispose() {
    this.#disposed = true;
    this.#events.abort();
    this.#backend?.then((backend) => backend.close(), () => {});
    this.#open.clear();
  }

  /** One call to the workers. @param {string} kind @param {any} [args] @param {import("../workers/rpc.js").CallOptions} [options] @returns {Promise<any>} */
  async ask(kind, args = {}, options = {}) {
    if (this.#disposed) throw new Disposed("This ModelLoader was disposed. Make a new one.");
    options.signal?.throwIfAborted();
    this.#backend ??= this.#connect().catch((error) => { this.#backend = null; throw error; });
    return (await this.#backend).call(kind, args, options);
  }

  /** Told by a session that was used or disposed. @param {InferenceSession} session @param {boolean} gone */
  touched(session, gone) {
    this.#open.delete(session);
    if (!gone) this.#open.add(session);
  }

  /** @returns {Promise<Backend>} workers of this page, or of EdgeNet's frame */
  async #connect() {
    requireSecure();
    const foreign = new URL(this.urls.base).origin !== globalThis.location?.origin;
    const framed = this.options.frame === true || (this.options.frame === "auto" && foreign);
    const backend = framed ? await openFrame(this.urls.embed, this.options) : new Hub({ urls: this.urls, options: this.options });
    const onEvent = (/** @type {any} */ report) => this.dispatchEvent(new CustomEvent(report.status, { detail: report }));
    backend.call("hub.events", {}, { signal: this.#events.signal, onEvent }).catch(() => {}); // ends with this loader
    return backend;
  }

  /** @param {string} id @param {((event: Progress) => void) | undefined} onProgress */
  #progress(id, onProgress) {
    return progressTo(id, [onProgress, this.options.download.progressCallback].filter(Boolean));
  }

  async #evict() {
    for (const oldest of this.#open) {
      if (this.#open.size <= this.options.memory.maxModels) return;
      await oldest.dispose();
      const reason = `${oldest.id} was disposed: memory.maxModels is ${this.options.memory.maxModels}.`;
      this.dispatchEvent(new CustomEvent("notice", { detail: { status: "notice", code: "session_evicted", reason, id: oldest.id } }));
    }
  }
}

maker.loader = (options) => new ModelLoader(options);

/** For `error instanceof edgenet.errors.get("quota_exceeded")`. */
export const errors = BY_CODE;
