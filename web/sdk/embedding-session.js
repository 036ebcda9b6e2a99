/**
 * Sessions of encoders: texts to unit vectors, a vector index, teaching. Page. The arrays it answers are the caller's own.
 */
import { EmptyBatch, EmptyText } from "./errors.js";
import { progressTo } from "./progress.js";
import { SearchIndex } from "./search-index.js";
import { InferenceSession, strings } from "./session.js";
import { Teach } from "./teach.js";

/** @typedef {import("./session.js").CallOptions} CallOptions @typedef {import("./session.js").Adapter} Adapter */

export class EmbeddingSession extends InferenceSession {
  #index;
  #teach;

  /** @param {import("./loader.js").ModelLoader} loader @param {any} opened */
  constructor(loader, opened) {
    super(loader, opened);
    /** Adapter last given to `setAdapter`. @type {Adapter | null} */ this.adapter = null;
    this.#index = new SearchIndex(this);
    this.#teach = new Teach(this, loader.options.teaching);
  }

  get operations() { return ["embed", "embedBatch", "similarity", "split", "countTokens", "setAdapter", "index", "teach"]; }

  get index() { return this.#index; }

  get teach() { return this.#teach; }

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
    const onEvent = onProgress && progressTo(this.id, [onProgress]);
    const { vectors, pieces } = await this.ask("embed", { texts: filled(strings(texts)) }, { signal, onEvent });
    const long = pieces.filter((/** @type {number} */ n) => n > 1).length;
    if (long) this.notice("text_split", `${long} of ${texts.length} texts are longer than ${this.maxTokens} tokens; each got the mean of its passages' vectors.`);
    const d = this.dimensions;
    return texts.map((_, i) => vectors.subarray(i * d, (i + 1) * d));
  }

  /** Cosine of two texts, −1 to 1. @param {string} a @param {string} b @param {CallOptions} [options] */
  async similarity(a, b, options) {
    return cosine(await this.embedBatch([a, b], options));
  }

  /** Passages that fit the model. @param {string} text @param {{maxTokens?: number, overlap?: number, signal?: AbortSignal}} [options] @returns {Promise<import("./session.js").Passage[]>} */
  async split(text, { signal, ...how } = {}) {
    return (await this.ask("split", { text: strings([text])[0], ...how }, { signal })).passages;
  }

  /** Tokens with the model's own marks. @template {string | string[]} T @param {T} texts @returns {Promise<T extends string ? number : number[]>} */
  async countTokens(texts) {
    const { tokens } = await this.ask("tokens", { texts: strings([texts].flat()) });
    return Array.isArray(texts) ? tokens : tokens[0];
  }

  /** What queries of the index go through: normalise(x + alpha (x A) B). @param {Adapter | null} adapter */
  async setAdapter(adapter) {
    await this.ask("adapter.set", adapter ?? { A: null, B: null, alpha: 0 });
    this.adapter = adapter;
  }

  async restore() {
    await this.#teach.restore();
  }

  /** One call to the engine for this session. @param {string} kind @param {any} [args] @param {import("../workers/rpc.js").CallOptions} [options] */
  ask(kind, args, options) {
    return this.askWorker(`engine.${kind}`, args, options);
  }
}

/** @param {string[]} texts @throws EmptyBatch, EmptyText */
export function filled(texts) {
  if (!texts.length) throw new EmptyBatch("There are no texts to embed. Give a list with at least one.", {});
  const item = texts.findIndex((text) => !text.trim());
  if (item >= 0) throw new EmptyText(`Text ${item} is empty or only white space; it has no meaning to embed. Leave it out.`, { item });
  return texts;
}

/** Of two vectors of length 1. @param {Float32Array[]} pair */
export const cosine = ([x, y]) => x.reduce((sum, value, i) => sum + value * y[i], 0);
