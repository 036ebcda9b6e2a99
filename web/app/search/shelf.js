/**
 * Keeps the engine's index in step with the library: ready documents are in it, others are not. Runs in the page.
 * The index lives in the worker's memory; after a restart of the worker it is filled again from the library.
 */
import { concat, rowsOf } from "../library/vectors.js";

export class Shelf {
  /** Document id → hash of the text whose vectors are in the index. @type {Map<string, string>} */
  #held = new Map();
  #queue = Promise.resolve();

  /** @param {import("../library/library.js").Library} library @param {import("../engine.js").Engine} engine */
  constructor(library, engine) {
    Object.assign(this, { library, engine });
    library.addEventListener("change", ({ detail }) => this.sync([...detail.changed, ...detail.removed]));
  }

  /** Brings all documents in; called once the session is there. */
  async fill() {
    this.#held.clear(); // a new session has an empty index
    this.engine.session.index.refill = () => this.#everything();
    await this.sync([...this.library.all.keys()]);
  }

  /** @param {string[]} ids @returns {Promise<void>} resolves when the index is in step */
  sync(ids) {
    if (!this.engine.session) return Promise.resolve();
    this.#queue = this.#queue
      .then(async () => {
        for (const id of ids) await this.#step(id);
      })
      .catch((error) => this.onError?.(error));
    return this.#queue;
  }

  async #step(id) {
    const document = this.library.all.get(id);
    const wanted = document?.state === "ready" && !document.deletedAt && document.model === this.engine.model ? document.hash : undefined;
    if (this.#held.get(id) === wanted) return;
    const { index } = this.engine.session;
    if (wanted) await index.put(id, await this.#vectors(document));
    else await index.delete(id);
    if (wanted) this.#held.set(id, wanted);
    else this.#held.delete(id);
  }

  async #vectors(document) {
    const rows = rowsOf(await this.library.vectors(document.id), this.engine.dimensions);
    return concat(document.passages.map((_, row) => rows.get(row)));
  }

  async #everything() {
    const ready = this.library.documents.filter((document) => document.state === "ready" && document.model === this.engine.model);
    this.#held = new Map(ready.map(({ id, hash }) => [id, hash]));
    return Promise.all(ready.map(async (document) => [document.id, await this.#vectors(document)]));
  }
}
