/**
 * InferenceSession: a person's handle on a loaded model. Page. The arrays it answers are the caller's own.
 */
import { Disposed, EmptyBatch, EmptyText, NotSupported, NotText } from "./errors.js";
import { ModelLoader } from "./loader.js";
import { progressTo } from "./progress.js";
import { SearchIndex } from "./search-index.js";
import { Teach } from "./teach.js";

/** @typedef {{modelBytes: number, wasmBytes: number, indexBytes: number, kvCacheBytes: number}} MemoryInfo bytes */
/** @typedef {{text: string, start: number, end: number, tokens: number}} Passage `start` and `end` in UTF-16 units of the text split */
/** @typedef {{signal?: AbortSignal, onProgress?: (event: import("./options.js").Progress) => void}} CallOptions */

/** model type → what its sessions can do beyond `dispose` and `getMemoryInfo`. */
const OPERATIONS = new Map([["embedding", ["embed", "embedBatch", "similarity", "split", "countTokens"]]]);

export class InferenceSession {
  #loader;
  #own = false;
  #disposed = false;
  /** @type {MemoryInfo} */ #memory;

  /** Not for callers: `loader.load(id)` or `InferenceSession.create(id)`. @param {ModelLoader} loader @param {any} opened the engine's answer */
  constructor(loader, opened) {
    this.#loader = loader;
    this.#memory = opened.memory;
    /** @type {string} */ this.handle = opened.session;
    /** @type {string} */ this.id = opened.id;
    /** @type {string} */ this.version = opened.version;
    /** @type {string} */ this.type = opened.type;
    /** @type {number} */ this.dimensions = opened.dimensions;
    /** @type {number} */ this.maxTokens = opened.maxTokens;
    /** @type {any} */ this.manifest = opened.manifest;
    /** Adapter last given to `setAdapter`. @type {Adapter | null} */ this.adapter = null;
    this.index = new SearchIndex(this);
    this.teach = new Teach(this, loader.options.teaching);
  }

  /**
   * A session with a loader of its own, which ends with it.
   * @param {string} id
   * @param {import("./options.js").ModelLoaderOptions & import("./loader.js").LoadOptions} [options]
   */
  static async create(id, { version, signal, onProgress, ...options } = {}) {
    const loader = new ModelLoader(options);
    try {
      const session = await loader.load(id, { version, signal, onProgress });
      session.#own = true;
      return session;
    } catch (error) {
      loader.dispose();
      throw error;
    }
  }

  /** One vector of length 1. @param {string} text @param {CallOptions} [options] @returns {Promise<Float32Array>} d */
  async embed(text, options) {
    return (await this.embedBatch([text], options))[0];
  }

  /**
   * @param {string[]} texts @param {CallOptions} [options]
   * @returns {Promise<Float32Array[]>} n of d, in order; all are views of one buffer
   * @throws EmptyText, EmptyBatch, NotText
   */
  async embedBatch(texts, { signal, onProgress } = {}) {
    this.#can("embedBatch");
    const onEvent = onProgress && progressTo(this.id, [onProgress]);
    const { vectors, pieces } = await this.ask("embed", { texts: filled(strings(texts)) }, { signal, onEvent });
    const long = pieces.filter((/** @type {number} */ n) => n > 1).length;
    if (long) this.notice("text_split", `${long} of ${texts.length} texts are longer than ${this.maxTokens} tokens; each got the mean of its passages' vectors.`);
    const d = this.dimensions;
    return texts.map((_, i) => vectors.subarray(i * d, (i + 1) * d));
  }

  /** Cosine of two texts, −1 to 1. @param {string} a @param {string} b @param {CallOptions} [options] */
  async similarity(a, b, options) {
    const [x, y] = await this.embedBatch([a, b], options);
    return x.reduce((sum, value, i) => sum + value * y[i], 0);
  }

  /** Passages that fit the model. @param {string} text @param {{maxTokens?: number, overlap?: number, signal?: AbortSignal}} [options] @returns {Promise<Passage[]>} */
  async split(text, { signal, ...how } = {}) {
    this.#can("split");
    return (await this.ask("split", { text: strings([text])[0], ...how }, { signal })).passages;
  }

  /** Tokens with the model's own marks. @template {string | string[]} T @param {T} texts @returns {Promise<T extends string ? number : number[]>} */
  async countTokens(texts) {
    this.#can("countTokens");
    const { tokens } = await this.ask("tokens", { texts: strings([texts].flat()) });
    return Array.isArray(texts) ? tokens : tokens[0];
  }

  /** Bytes as of the last answer. @returns {MemoryInfo} */
  getMemoryInfo() {
    return { ...this.#memory };
  }

  /** @typedef {{A: Float32Array, B: Float32Array, alpha: number}} Adapter A is d×r, B r×d, row by row */

  /** What queries of the index go through: normalise(x + alpha (x A) B). @param {Adapter | null} adapter */
  async setAdapter(adapter) {
    await this.ask("adapter.set", adapter ?? { A: null, B: null, alpha: 0 });
    this.adapter = adapter;
  }

  generate() { return this.#can("generate"); }

  generateStream() { return this.#can("generateStream"); }

  chat() { return this.#can("chat"); }

  /** Frees the model's memory; with `create`, ends the workers. Safe to call twice. */
  async dispose() {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#loader.touched(this, true);
    if (this.#own) this.#loader.dispose();
    else await this.#loader.ask("hub.close", { session: this.handle });
  }

  /** One call to the engine for this session. @param {string} kind @param {any} [args] @param {import("../workers/rpc.js").CallOptions} [options] */
  async ask(kind, args = {}, options = {}) {
    const answer = await this.askAny(`engine.${kind}`, { session: this.handle, ...args }, options);
    if (answer?.memory) this.#memory = answer.memory;
    return answer;
  }

  /** One call to any worker, refused after `dispose`. @param {string} kind @param {any} [args] @param {import("../workers/rpc.js").CallOptions} [options] */
  async askAny(kind, args, options) {
    if (this.#disposed) throw new Disposed(`This session of ${this.id} was disposed. Load the model again.`);
    this.#loader.touched(this, false);
    return this.#loader.ask(kind, args, options);
  }

  /** Says a notice through the loader. @param {string} code @param {string} reason */
  notice(code, reason) {
    this.#loader.dispatchEvent(new CustomEvent("notice", { detail: { status: "notice", code, reason } }));
  }

  /** @param {string} operation @returns {any} */
  #can(operation) {
    const can = OPERATIONS.get(this.type) ?? [];
    if (!can.includes(operation)) {
      throw new NotSupported(`${operation} is not possible with ${this.id}, a model of type "${this.type}". It can: ${can.join(", ") || "nothing that this version knows"}.`, { operation, type: this.type });
    }
  }
}

/** @param {any[]} values @returns {string[]} */
function strings(values) {
  const bad = Array.isArray(values) ? values.findIndex((value) => typeof value !== "string") : 0;
  if (bad >= 0) throw new NotText(`A text must be a string; item ${bad} is ${Array.isArray(values) ? typeof values[bad] : "not in a list"}.`, { item: bad });
  return values;
}

/** @param {string[]} texts */
function filled(texts) {
  if (!texts.length) throw new EmptyBatch("There are no texts to embed. Give a list with at least one.", {});
  const item = texts.findIndex((text) => !text.trim());
  if (item >= 0) throw new EmptyText(`Text ${item} is empty or only white space; it has no meaning to embed. Leave it out.`, { item });
  return texts;
}
