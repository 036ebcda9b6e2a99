/**
 * The vector index as the page sees it; the rows live in the engine worker. Page. After a restart of the engine it asks `refill` for
 * everything again, or says `index_lost`: it never answers from an index that only seems empty.
 */
import { InvalidOption, WrongLength, WrongType } from "./errors.js";

/** @typedef {{id: string, row: number, score: number}} Hit `row` counts within the id's vectors, `score` is the cosine */
/** @typedef {{text?: string, vector?: Float32Array, k?: number, adapter?: boolean, signal?: AbortSignal}} SearchOptions */

export class SearchIndex {
  #session;
  /** rows and bytes as of the last answer */ size = 0;
  memory = 0;
  /** Everything that belongs in the index. @type {null | (() => Promise<Iterable<[string, Float32Array | Float32Array[]]>>)} */
  refill = null;
  /** @type {Promise<void> | null} */ #filling = null;

  /** @param {import("./embedding-session.js").EmbeddingSession} session */
  constructor(session) {
    this.#session = session;
  }

  /** Replaces what `id` had. @param {string} id @param {Float32Array | Float32Array[]} vectors n×d @throws WrongLength, NotFinite */
  async put(id, vectors) {
    await this.#ask("index.put", { id: String(id), vectors: flat(vectors, this.#session.dimensions) });
  }

  /** @param {string} id @returns {Promise<boolean>} whether it was there */
  async delete(id) {
    return (await this.#ask("index.delete", { id: String(id) })).deleted;
  }

  async clear() {
    await this.#take("index.clear", {});
  }

  /** The rows of an id, of length 1. @param {string} id @returns {Promise<Float32Array>} n×d @throws DocumentNotFound */
  async get(id) {
    return (await this.#ask("index.get", { id: String(id) })).vectors;
  }

  /**
   * The k nearest rows, best first, all rows compared.
   * @param {SearchOptions} query either `text` or `vector`
   * @returns {Promise<{results: Hit[], vector: Float32Array}>} `vector`: the query of length 1, before the adapter
   */
  async search({ text, vector, k = 10, adapter = true, signal }) {
    if ((text === undefined) === (vector === undefined)) throw new InvalidOption("search takes either a text or a vector.", {});
    return this.#ask("index.search", { text, vector, k, adapter }, { signal });
  }

  /** @param {string} kind @param {any} args @param {any} [options] */
  async #ask(kind, args, options) {
    await this.#filling;
    try {
      return await this.#take(kind, args, options);
    } catch (error) {
      if (/** @type {any} */ (error).code !== "index_lost" || !this.refill) throw error;
      await (this.#filling ??= this.#fill().finally(() => { this.#filling = null; }));
      return this.#take(kind, args, options);
    }
  }

  async #fill() {
    const everything = await /** @type {NonNullable<SearchIndex["refill"]>} */ (this.refill)();
    await this.clear();
    for (const [id, vectors] of everything) await this.#take("index.put", { id: String(id), vectors: flat(vectors, this.#session.dimensions) });
  }

  /** @param {string} kind @param {any} args @param {any} [options] */
  async #take(kind, args, options) {
    const answer = await this.#session.ask(kind, args, options);
    this.size = answer.size;
    this.memory = answer.memory.indexBytes;
    return answer;
  }
}

/** @param {Float32Array | Float32Array[]} vectors @param {number} d @returns {Float32Array} n×d */
function flat(vectors, d) {
  const rows = Array.isArray(vectors) ? vectors : [vectors];
  const bad = rows.find((row) => !(row instanceof Float32Array));
  if (bad !== undefined) throw new WrongType("Vectors must be a Float32Array or an array of them.", {});
  if (rows.some((row) => row.length % d) || (Array.isArray(vectors) && rows.some((row) => row.length !== d))) {
    throw new WrongLength(`Vectors of this model have ${d} numbers; got ${rows.map((row) => row.length).slice(0, 4).join(", ")}.`, { dimensions: d });
  }
  if (!Array.isArray(vectors)) return vectors;
  const out = new Float32Array(rows.length * d);
  rows.forEach((row, i) => out.set(row, i * d));
  return out;
}
