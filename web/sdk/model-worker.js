/**
 * ModelWorker and ModelWorkerPool: a language model in a worker, asked one by one or many at once. Page.
 * The pool holds one copy of the weights, however many `workers` it has: they are places in one continuous batch, not processes.
 */
import { Disposed, EmptyBatch, InvalidOption, NoModel } from "./errors.js";
import { InferenceSession } from "./session.js";

/** @typedef {import("./session.js").GenerateOptions} GenerateOptions @typedef {import("./session.js").CallOptions} CallOptions */
/** @typedef {import("./options.js").ModelLoaderOptions & import("./loader.js").LoadOptions} OpenOptions */
/** @typedef {{id: string, prompt: string, options?: GenerateOptions}} Task @typedef {import("./language-session.js").Completion & {id: string}} TaskResult */

export class ModelWorker {
  #options;
  /** @type {Promise<InferenceSession> | null} */ #session = null;
  /** @type {Set<(text: string) => void>} */ #listeners = new Set();
  #ended = false;

  /** @param {OpenOptions} [options] as of `InferenceSession.create` */
  constructor(options = {}) {
    this.#options = options;
  }

  /** Opens a model in place of the one before. @param {string | import("./session.js").LocalSource} model @param {OpenOptions} [options] @returns {Promise<void>} */
  async load(model, options) {
    this.#requireOpen();
    const before = this.#session;
    const opening = InferenceSession.create(model, { ...this.#options, ...options });
    opening.catch(() => {}); // told below, after the one before has ended
    this.#session = opening;
    await before?.then((session) => session.dispose(), () => {});
    const session = await opening;
    if (this.#ended) await session.dispose();
    this.#requireOpen();
  }

  /** The open session. @returns {Promise<InferenceSession>} @throws NoModel, Disposed */
  async session() {
    this.#requireOpen();
    if (!this.#session) throw new NoModel("This worker has no model. Call load(model) first.");
    return this.#session;
  }

  /** @param {string} prompt @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {Promise<string>} */
  async generate(prompt, options, call) {
    return (await this.session()).generate(prompt, options, call);
  }

  /** Hears every piece of every `generateStream`. @param {(text: string) => void} listener @returns {() => void} takes it away again */
  onToken(listener) {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  /** Tells pieces to `onToken`; answers the whole text. @param {string} prompt @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {Promise<string>} */
  async generateStream(prompt, options, call) {
    const stream = (await this.session()).generateStream(prompt, options, call);
    for await (const text of stream) for (const listener of this.#listeners) listener(text);
    return (await stream.result).text;
  }

  /**
   * Runs prompts together, in one batch. The first failure rejects and ends the rest.
   * @param {Task[]} tasks @param {CallOptions} [call] @returns {Promise<TaskResult[]>} in the order of `tasks`, each with its id
   */
  async batch(tasks, call) {
    const session = await this.session();
    return together(tasks, (task, signal) => session.complete({ prompt: task.prompt }, task.options, { ...call, signal }), call?.signal);
  }

  /** Ends the worker and frees the model. Safe to call twice. */
  terminate() {
    this.#ended = true;
    this.#listeners.clear();
    this.#session?.then((session) => session.dispose(), () => {});
  }

  #requireOpen() {
    if (this.#ended) throw new Disposed("This worker was terminated. Make a new one.");
  }
}

export class ModelWorkerPool {
  #worker;
  #ready;
  #free;
  /** Tasks that wait for a place. @type {(() => void)[]} */ #waiting = [];

  /**
   * @param {{workers?: number, model: string | import("./session.js").LocalSource} & OpenOptions} options `workers`: generations that run together at
   *   most, 4 by default; more wait their turn. The weights are loaded once @throws InvalidOption
   */
  constructor({ workers = 4, model, ...options }) {
    if (!(Number.isSafeInteger(workers) && workers >= 1)) throw new InvalidOption(`workers must be a whole number from 1, found ${String(workers)}.`, { option: "workers" });
    this.#worker = new ModelWorker(options);
    this.#free = workers;
    this.#ready = this.#worker.load(model);
    this.#ready.catch(() => {}); // told by the first call
  }

  /** Resolves when the model is loaded. @returns {Promise<void>} */
  ready() {
    return this.#ready;
  }

  /** @param {string} prompt @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {Promise<string>} */
  generate(prompt, options, call) {
    return this.#inPlace(() => this.#worker.generate(prompt, options, call), call?.signal);
  }

  /** @param {Task[]} tasks @param {CallOptions} [call] @returns {Promise<TaskResult[]>} in the order of `tasks` */
  async batch(tasks, call) {
    await this.#ready;
    const session = await this.#worker.session();
    const one = (/** @type {Task} */ { prompt, options }, /** @type {AbortSignal} */ signal) => this.#inPlace(() => session.complete({ prompt }, options, { ...call, signal }), signal);
    return together(tasks, one, call?.signal);
  }

  terminate() {
    this.#worker.terminate();
    this.#waiting.splice(0).forEach((wake) => wake()); // to be told that it is over
  }

  /** @template T @param {() => Promise<T>} work @param {AbortSignal} [signal] @returns {Promise<T>} */
  async #inPlace(work, signal) {
    await this.#ready;
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }

  /** Resolves when a place is handed over; who is cancelled waits no longer. @param {AbortSignal} [signal] @returns {Promise<void>} */
  #turn(signal) {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(signal?.reason);
      };
      const go = () => {
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      signal?.addEventListener("abort", leave, { once: true });
      this.#waiting.push(go);
    });
  }
}

/** @param {Task[]} tasks @param {(task: Task, signal: AbortSignal) => Promise<any>} work @param {AbortSignal} [outer] @returns {Promise<TaskResult[]>} */
async function together(tasks, work, outer) {
  if (!Array.isArray(tasks) || !tasks.length) throw new EmptyBatch("A batch needs at least one task, such as {id: \"1\", prompt: \"Hello\"}.", {});
  const own = new AbortController();
  const signal = outer ? AbortSignal.any([outer, own.signal]) : own.signal;
  try {
    return await Promise.all(tasks.map(async (task) => ({ id: task.id, ...(await work(task, signal)) })));
  } catch (error) {
    own.abort();
    throw error;
  }
}
