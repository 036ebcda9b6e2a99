/**
 * `session.adapters`: LoRA adapters of a loaded language model. Page. They stay apart from the weights: a request says which it wants, at what scale.
 */
import { AUTO, keptRouter, profileOf, readRouter, routed } from "./adapter-router.js";
import { openUrl } from "./download.js";
import { AdapterNotFound, AdapterPoolFull, InvalidOption } from "./errors.js";
import { mergeIntoBase, phasesTo, readParts } from "./into-base.js";
import { byPath } from "./local-model.js";
import { progressTo } from "./progress.js";
import { checkCall } from "./options.js";
import { questionOf } from "./routing.js";
import { readExamples } from "./trainer.js";

/**
 * @typedef {string | {id: string, scale?: number}} AdapterChoice an adapter by its id, at scale 1 or another
 * @typedef {Blob | ArrayBuffer | ArrayBufferView | string | URL | {url: string | URL} | {file: Blob} | {files: Iterable<Blob> | Record<string, Blob>}} AdapterFiles one file, its
 *   address, or the files of a PEFT folder (`adapter_config.json`, `adapter_model.safetensors`); a zip of one, a GGUF adapter, EdgeNet's JSON
 * @typedef {AdapterChoice | AdapterChoice[] | "auto" | null} AdapterWish "auto": the saved one that was trained on what is most like the request, or none
 * @typedef {import("./adapter-router.js").Router} Router @typedef {import("./adapter-router.js").Routed} Routed @typedef {import("./adapter-router.js").Embedder} Embedder
 * @typedef {AdapterFiles | import("./trainer.js").TrainedAdapter | {saved: string}} AdapterSource files, what a trainer answered, or a saved one by its id
 * @typedef {object} AdapterInfo
 * @property {string} id @property {string} hash of its bytes, SHA-256 @property {number} rank the highest of its factors @property {number} bytes room in the engine's pool
 * @property {number} slot in the pool; -1: it made room for others and comes back when it is asked for @property {boolean} pinned it never makes room
 * @property {string} name its own @property {string} adapter its own id: what does the same has the same @property {string} family @property {string} checksum
 * @property {string} baseSha256 of the file it was trained on; "" where nobody told
 * @typedef {object} SavedAdapter one that this origin keeps
 * @property {string} id what does the same has the same @property {string} name @property {number} rank @property {string[]} modules @property {number} bytes of its factors
 * @property {string} baseId of the model it is for @property {string} baseSha256 of the file it was trained on; "" where nobody told
 * @property {boolean} otherFile it is another one than the model's, probably another quantisation: it works, slightly less well @property {string} family @property {string} created @property {string} lastUsed when it was loaded last @property {boolean} pinned loaded, it never makes room for others
 * @property {string | null} signedBy the site's key whose signature it had when it came; null: none, or one that the site does not know
 * @property {any} metrics what was told when it was kept: of a training its `TrainingMetrics`, of a merge `{merge: …}`
 * @property {import("./routing.js").AdapterProfile | null} profile what it was trained on, where it was described; no export has it
 * @typedef {object} KeepOptions
 * @property {string} [name] @property {any} [metrics] else those of the training @property {AbortSignal} [signal]
 * @property {Embedder | null} [embedder] describes what a trainer made by what it learned from; the router's, where it is left out; null: it is not described
 * @property {import("./routing.js").AdapterProfile | null} [profile] of one that was there before
 * @typedef {{strategy?: "average" | "weighted" | "task_arithmetic" | "slerp" | "ties" | "dare" | "dare_linear" | "dare_ties", interpolation?: number, density?: number, scaling?: number,
 *   majoritySignMethod?: "total" | "frequency", rank?: number, seed?: number, name?: string, signal?: AbortSignal, onProgress?: (event: import("./options.js").Progress) => void}} MergeHow see docs/merging.md
 * @typedef {{slots: number, bytes: number, free: number, adapters: AdapterInfo[]}} AdapterList of the pool, in bytes; the adapter used last first
 */

/** @param {AdapterWish} [given] @returns {{id: string, scale: number}[] | "auto"} @throws InvalidOption */
export function readChoice(given) {
  if (given === AUTO) return AUTO;
  return [given ?? []].flat().map((one) => {
    const { id, scale = 1 } = typeof one === "string" ? { id: one } : Object(one);
    if (typeof id === "string" && Number.isFinite(scale)) return { id, scale };
    throw new InvalidOption('Adapters are ids, or {id, scale}: "mine", or [{id: "mine", scale: 0.5}]; or "auto".', { option: "adapters" });
  });
}

export class SessionAdapters {
  #session;
  /** @type {{id: string, scale: number}[] | "auto"} */ #used = [];
  /** @type {Required<Router> | null} */ #router = null;

  /** @param {import("./session.js").InferenceSession} session */
  constructor(session) {
    this.#session = session;
  }

  /** What requests run with that name no `adapters` of their own. */
  get used() { return this.#used === AUTO ? AUTO : this.#used.map((one) => ({ ...one })); }

  /**
   * Every request from now on that names no `adapters` of its own. @param {AdapterWish} choice null: none @param {Router} [router] of "auto", unless it was given before
   * @throws InvalidOption, NoRouter; that one is not loaded is told by the request
   */
  use(choice, router) {
    const read = readChoice(choice);
    if (router) this.router = router;
    if (read === AUTO) readRouter(this.#router);
    this.#used = read;
  }

  /** By which embedding model "auto" chooses, and by which a training's adapter is described when it is kept. @returns {Router | null} */
  get router() { return this.#router && { ...this.#router }; }

  /** @throws InvalidOption */
  set router(given) { this.#router = given && keptRouter(readRouter(given)); }

  /**
   * Loads an adapter of this model. One that was made ready for an engine is there in a moment; any other goes through Python first.
   * @param {AdapterSource} source @param {{id?: string, pinned?: boolean} & import("./session.js").CallOptions} [options] `id`: else that of a trained or saved one, or its own
   *   name; one that is taken is replaced;
   *   `pinned`: it never makes room for others; of a saved one it is as `pin` said
   * @returns {Promise<AdapterInfo>} @throws InvalidAdapter, AdapterMismatch (made for another model), AdapterPoolFull
   */
  async load(source, options = {}) {
    checkCall(options);
    const { id, pinned, signal, onProgress } = options;
    const onEvent = progressTo(this.#session.id, onProgress ? [onProgress] : []);
    const { files, kept } = await this.#filesOf(source, signal, onEvent);
    return this.#session.askWorker("lm.adapters.load", { files, id: id ?? ownId(source), pinned: pinned ?? kept }, { signal, onEvent });
  }

  /** Requests that run with it end with it. @param {string} id @returns {Promise<void>} @throws AdapterNotFound */
  async unload(id) {
    await this.#session.askWorker("lm.adapters.unload", { id });
    if (this.#used !== AUTO) this.#used = this.#used.filter((one) => one.id !== id);
  }

  /** @returns {Promise<AdapterList>} */
  list() { return this.#session.askWorker("lm.adapters.list"); }

  // --- those that this origin keeps
  /** Of this model, the latest first. @returns {Promise<SavedAdapter[]>} */
  saved() { return this.#library("list"); }

  /**
   * Keeps an adapter in this origin's storage; one that does the same is replaced, and a training that is done is discarded. @param {import("./trainer.js").TrainedAdapter | AdapterFiles} source
   * @param {KeepOptions} [options] @returns {Promise<SavedAdapter>} @throws AdapterExists (another has the name), AdapterMismatch, InvalidAdapter, StorageError,
   *   SignatureInvalid, KeyRevoked, KeyIncapable
   */
  async keep(source, options = {}) {
    checkCall(options);
    const { name, metrics, profile, embedder, signal } = options;
    if (isTrained(source)) {
      const about = { name, metrics: metrics ?? source.metrics, profile: profile ?? (await this.#profileOf(source, embedder, signal)) };
      return this.#session.askWorker("lm.train.keep", { packed: await bytesOf(source.packed), ...about, run: source.run }, { signal });
    }
    const files = await filesOf(source, signal, () => {});
    const bytes = await Promise.all(Object.entries(files).map(async ([path, blob]) => [path, await bytesOf(blob)]));
    return this.#library("import", { files: Object.fromEntries(bytes), name, metrics, profile }, { signal });
  }

  /** As `keep`, of files. @param {AdapterFiles} source @param {KeepOptions} [options] @returns {Promise<SavedAdapter>} */
  import(source, options) { return this.keep(source, options); }

  /** @param {string} id @param {string} name @returns {Promise<SavedAdapter>} @throws AdapterNotFound, AdapterExists, InvalidAdapter */
  rename(id, name) { return this.#library("rename", { id: id ?? null, name }); }

  /**
   * Whether a saved adapter, loaded, never makes room for others: now, and whenever it is loaded again. @param {string} id @param {boolean} [pinned]
   * @returns {Promise<SavedAdapter>} @throws AdapterNotFound, InvalidOption, AdapterPoolFull
   */
  async pin(id, pinned = true) {
    if (typeof pinned !== "boolean") throw new InvalidOption("An adapter is pinned (true) or not (false).", { option: "pinned" });
    const saved = await this.#library("pin", { id: id ?? null, pinned });
    if (await this.#loaded(id)) await this.load({ saved: id });
    return saved;
  }

  /** Forgets a saved adapter; where it is loaded it stays loaded. @param {string} id @returns {Promise<void>} @throws AdapterNotFound */
  remove(id) { return this.#library("remove", { id: id ?? null }); }

  /** A saved adapter as a file: a zip of PEFT's folder, EdgeNet's JSON, or GGUF for llama.cpp. @param {string} id @param {"peft" | "json" | "gguf"} [format] @returns {Promise<File>} */
  async export(id, format = "peft") {
    const { bytes, name, type } = await this.#library("export", { id, format });
    return new File([bytes], name, { type });
  }

  /**
   * One adapter out of several saved ones, kept beside them. A stop is heard after the module under way. @param {import("./into-base.js").MergePart[]} adapters @param {MergeHow} [how]
   * @returns {Promise<SavedAdapter>} `metrics.merge`: how it came about and the relative error of the refit @throws InvalidOption, AdapterMismatch, AdapterExists
   */
  async merge(adapters, how = {}) {
    checkCall(how);
    const { name, signal, onProgress, ...options } = how;
    return this.#library("merge", { ...readParts(adapters, options), name }, { signal, onEvent: phasesTo(this.#session.id, onProgress) });
  }

  /**
   * The loaded model with saved adapters in its weights: a GGUF file, written to this origin's disk piece by piece; several are merged first, leaving nothing out. A stop is
   * heard between two pieces and leaves nothing. `discard()` the file when it is saved or loaded no more; what a closed page left goes when the next one starts.
   * @param {import("./into-base.js").MergePart | import("./into-base.js").MergePart[]} adapters @param {import("./into-base.js").IntoBaseOptions & MergeHow} [how]
   * @returns {Promise<import("./into-base.js").MergedModel>} @throws UnsupportedTensorType (say another `type`), QuotaExceeded before the first byte, AdapterMismatch, NotFinite
   */
  mergeIntoBase(adapters, how) { return mergeIntoBase(this.#session, adapters, how); }

  // --- the one that a request is like
  /**
   * Keeps with a saved adapter what it was trained on, for `route`, in place of what was known of that: the mean vector of a sample, and a few of its passages. No export has it.
   * @param {string} id @param {Iterable<import("./trainer.js").Example> | import("./trainer.js").Example | null} texts as a trainer takes them; null: nothing is known
   * @param {{embedder?: Embedder, signal?: AbortSignal}} [options] `embedder`: else the router's @returns {Promise<SavedAdapter>} @throws AdapterNotFound, EmptyText, NoRouter
   */
  async describe(id, texts, options = {}) {
    checkCall(options);
    const { embedder, signal } = options;
    const profile = texts === null ? null : await profileOf(await readExamples(texts), this.#routerOf(embedder).embedder, signal);
    return this.#library("describe", { id, profile }, { signal });
  }

  /**
   * Saved adapters that were trained on what is like a request, the likest first. Those that were not described, or by another embedding model, are left out.
   * @param {string | ArrayLike<number>} request a text, or its vector by that embedding model @param {{embedder?: Embedder, threshold?: number, signal?: AbortSignal}} [options] else the router's
   * @returns {Promise<Routed[]>} empty: none @throws EmptyText, NotFinite, NoRouter
   */
  async route(request, options = {}) {
    checkCall(options);
    const { embedder, threshold, signal } = options;
    return routed(request, await this.#library("list", {}, { signal }), this.#routerOf(embedder, threshold), signal);
  }

  /**
   * Not for callers: what a request runs with. Of "auto" it is loaded where it was not; one that somebody removed meanwhile, or that has no room, is passed over.
   * @param {{id: string, scale: number}[] | "auto"} choice @param {() => Promise<string | import("./generate-options.js").Message[]>} asked @param {AbortSignal} [signal]
   * @returns {Promise<{adapters: {id: string, scale: number}[], routed?: Routed | null}>} `routed`: of "auto" alone
   */
  async chosen(choice, asked, signal) {
    if (choice !== AUTO) return { adapters: choice };
    const router = this.#routerOf();
    const question = questionOf(await asked());
    /** @type {Routed[]} */ const crowded = [];
    for (const one of question ? await this.route(question, { ...router, signal }) : []) {
      try {
        await this.#present(one.id, signal);
        this.#passedOver(crowded, one);
        return { adapters: [{ id: one.id, scale: 1 }], routed: one };
      } catch (error) {
        if (error instanceof AdapterPoolFull) crowded.push(one);
        else if (!(error instanceof AdapterNotFound)) throw error;
      }
    }
    this.#passedOver(crowded, null);
    return { adapters: [], routed: null };
  }

  /** @param {Routed[]} crowded liker ones that had no room @param {Routed | null} taken */
  #passedOver([likest], taken) {
    if (!likest) return;
    const answers = taken ? `"${taken.name}", the next one that is like it, answers` : "the model answers without";
    this.#session.notice("adapter_passed_over", `The adapter "${likest.name}" is most like the request and has no room beside those that are pinned or in use; ${answers}. Unpin or unload one.`);
  }

  /** @param {string} id @param {AbortSignal} [signal] */
  async #present(id, signal) {
    const found = await this.#loaded(id);
    if (!found || found.slot < 0) await this.load({ saved: id }, { signal });
  }

  /** @param {string} id @returns {Promise<any>} what the engine knows of it */
  async #loaded(id) {
    return (await this.list()).adapters.find((one) => one.id === id);
  }

  /** The router, or another one for a call. @param {Embedder} [embedder] @param {number} [threshold] */
  #routerOf(embedder = this.#router?.embedder, threshold = this.#router?.threshold) {
    return readRouter(embedder && { embedder, threshold });
  }

  /** What a trainer's adapter learned from. That nobody asked for it by name is no reason to lose the adapter. @param {import("./trainer.js").TrainedAdapter} trained @param {Embedder | null} [embedder] @param {AbortSignal} [signal] */
  async #profileOf({ sample = [] }, embedder, signal) {
    const used = embedder === undefined ? this.#router?.embedder : embedder;
    if (!used || !sample.length) return undefined;
    return profileOf(sample, used, signal).catch((error) => {
      if (embedder || signal?.aborted) throw error;
      this.#session.notice("adapter_not_described", `The adapter is kept without what it was trained on, so that no request is routed to it: ${error.message}`);
    });
  }

  /** @param {string} kind @param {any} [args] @param {import("../workers/rpc.js").CallOptions} [options] */
  #library(kind, args, options) {
    return this.#session.askWorker(`lm.library.${kind}`, args, options);
  }

  /** @param {AdapterSource} source @param {AbortSignal | undefined} signal @param {(event: any) => void} onEvent @returns {Promise<{files: Record<string, Blob>, kept?: boolean}>} by path; `kept`: pinned, as its record says */
  async #filesOf(source, signal, onEvent) {
    if (isTrained(source)) return { files: { [source.name]: source.ready } };
    const { saved } = /** @type {any} */ (Object(source));
    if (typeof saved !== "string") return { files: await filesOf(source, signal, onEvent) };
    const { name, bytes, pinned } = await this.#library("ready", { id: saved }, { signal, onEvent });
    return { files: { [name]: new Blob([bytes]) }, kept: pinned };
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
