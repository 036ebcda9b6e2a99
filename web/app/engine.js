/**
 * The app's one handle on the SDK: the loader, one session, its search index kept in step with the library. Runs in the page.
 * Nothing is fetched before `ready()` is called for the first time.
 */
import { ModelLoader } from "../sdk/index.js";
import { observable } from "./observable.js";
import { stopped } from "./ui/plain.js";

export const MODEL = "minilm-l6-v2-q8";

/** @typedef {{name: "idle"|"loading"|"ready"|"failed"|"cancelled", progress?: any, error?: any}} Phase */

export class Engine {
  loader = new ModelLoader();
  /** @type {import("./observable.js").observable<Phase>} */
  phase = observable({ name: "idle" });
  /** @type {import("../sdk/session.js").InferenceSession | null} */
  session = null;
  /** What must be done before the first search is answered, such as filling the index; `session` is there by then. @type {() => Promise<void>} */
  prepare = async () => {};
  #starting = null;
  #cancel = null;
  #searches = 0;
  #idle = [];

  /** The loaded session; loads it if need be. Concurrent callers share one load. */
  ready() {
    return (this.#starting ??= this.#start().catch((error) => {
      this.#starting = null;
      this.phase.set(stopped(error) ? { name: "cancelled" } : { name: "failed", error });
      throw error;
    }));
  }

  async #start() {
    this.#cancel = new AbortController();
    this.phase.set({ name: "loading", progress: null });
    const onProgress = (progress) => this.phase.set({ name: "loading", progress });
    this.session = await this.loader.load(MODEL, { signal: this.#cancel.signal, onProgress });
    await this.prepare();
    this.phase.set({ name: "ready" });
    return this.session;
  }

  /** What the model weighs, in bytes, as this site's list says; null when the list cannot be had. */
  size() {
    return this.loader.listModels().then(
      (rows) => rows.find(({ id }) => id === MODEL)?.size ?? null,
      () => null,
    );
  }

  /** Stops a running download; what arrived is kept. */
  cancel() {
    this.#cancel?.abort();
  }

  /** `id@version` of what vectors belong to. */
  get model() {
    return `${this.session.id}@${this.session.version}`;
  }

  get dimensions() {
    return this.session.dimensions;
  }

  split(text) {
    return this.session.split(text);
  }

  embedBatch(texts, options) {
    return this.session.embedBatch(texts, options);
  }

  /** @param {{text?: string, vector?: Float32Array, k?: number, adapter?: boolean, signal?: AbortSignal}} query */
  async search(query) {
    this.#searches++;
    try {
      return await (await this.ready()).index.search(query);
    } finally {
      if (!--this.#searches) this.#idle.splice(0).forEach((resolve) => resolve());
    }
  }

  /** Resolves when nobody waits for a search, so that indexing gives way to typing. */
  quiet() {
    return this.#searches ? new Promise((resolve) => this.#idle.push(resolve)) : Promise.resolve();
  }
}
