/**
 * Search as one types: waits for a pause, gives up searches that were overtaken, never shows an old answer. Runs in the page and in Node.
 */
import { observable } from "../observable.js";

const PAUSE = 120; // ms without a key before the model is asked
const DEPTH = 60; // passages asked for; shown are the best documents among them
export const SHOWN = 20;

/** @typedef {{id: string, row: number, score: number, others: {row: number, score: number}[]}} Found the best passage of a document, and its further ones */
/** @typedef {{state: "empty"|"busy"|"done"|"failed", query: string, found: Found[], vector?: Float32Array, ms?: number, error?: any}} Outcome */

export class Searcher {
  /** @type {import("../observable.js").observable<Outcome>} */
  outcome = observable({ state: "empty", query: "", found: [] });
  #timer;
  #running = null;

  /** @param {{search: Function}} engine @param {{pause?: number}} [options] */
  constructor(engine, { pause = PAUSE } = {}) {
    Object.assign(this, { engine, pause });
  }

  /** @param {string} text what stands in the box now */
  type(text) {
    clearTimeout(this.#timer);
    this.#running?.abort();
    const query = text.trim();
    if (!query) return this.outcome.set({ state: "empty", query: "", found: [] });
    this.outcome.patch({ state: "busy", query });
    this.#timer = setTimeout(() => this.ask(query), this.pause);
  }

  /** Asks at once. @param {string} query */
  async ask(query) {
    this.#running?.abort();
    const mine = (this.#running = new AbortController());
    const start = performance.now();
    try {
      const { results, vector } = await this.engine.search({ text: query, k: DEPTH, signal: mine.signal });
      if (mine.signal.aborted) return;
      this.outcome.set({ state: "done", query, vector, found: byDocument(results), ms: performance.now() - start });
    } catch (error) {
      if (!mine.signal.aborted) this.outcome.set({ state: "failed", query, found: [], error });
    }
  }

  /** The same query again, after the library or the adapter changed; the model is not asked again. @returns {Promise<Found[]>} */
  async again() {
    const { state, query, vector, ms } = this.outcome.value;
    if (state !== "done") return this.outcome.value.found;
    const found = await this.rank(vector);
    if (this.outcome.value.vector === vector) this.outcome.set({ state, query, vector, ms, found });
    return found;
  }

  /** @param {Float32Array} vector @param {boolean} [adapter] @returns {Promise<Found[]>} */
  async rank(vector, adapter = true) {
    return byDocument((await this.engine.search({ vector: vector.slice(), k: DEPTH, adapter })).results);
  }
}

/** Best passage per document, best document first. @param {{id: string, row: number, score: number}[]} results best first @returns {Found[]} */
export function byDocument(results) {
  const found = new Map();
  for (const { id, row, score } of results) {
    if (found.has(id)) found.get(id).others.push({ row, score });
    else found.set(id, { id, row, score, others: [] });
  }
  return [...found.values()].slice(0, SHOWN);
}
