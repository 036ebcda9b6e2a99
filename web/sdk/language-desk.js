/**
 * The Hub's desk for language models: one worker per loaded model, watched, replaced when it died, ended with its session. Page and frame.
 * It knows nothing of tokens; it knows which worker runs which kind of model, and how a cancel reaches a worker that computes.
 */
import { connect } from "../workers/rpc.js";
import { Disposed, NotSupported } from "./errors.js";
import { Patience } from "./patience.js";
import { pickThreads } from "./status.js";

/** @typedef {import("../workers/rpc.js").CallOptions} CallOptions */

/**
 * @typedef {object} Model an open one
 * @property {"lm" | "onnx"} runtime @property {any} manifest @property {any} load arguments of `lm.load`
 * @property {Promise<Live> | null} live @property {any} info what `lm.load` answered last
 * @typedef {{patience: Patience, abort: Int32Array | undefined}} Live `abort`: the word that stops a run, where memory is shared
 */

/** Which worker runs a model of the site, from its manifest: encoders the one that holds the indexes, decoders one of their own, for a Program or ONNX. @param {any} manifest @returns {"engine" | "lm" | "onnx"} */
export function runtimeOf({ type, artifacts = {} }) {
  if (type !== "text-generation") return "engine";
  if (artifacts.program) return "lm";
  return Object.values(artifacts).some(({ filename }) => filename.endsWith(".onnx")) ? "onnx" : "lm";
}

/** The same for a model of the user's own; a page around a frame must not reach models of the store past their revocation this way. @param {any} manifest @returns {"lm" | "onnx"} */
export function localRuntimeOf(manifest) {
  const runtime = manifest.artifacts?.program ? "lm" : runtimeOf(manifest);
  if (runtime === "engine") throw new NotSupported(`A file of your own can be a GGUF model or an ONNX decoder; "${manifest.type}" without a Program is neither.`, { type: manifest.type });
  return runtime;
}

/** What of a user's own model reaches its worker: files, never the name of a stored model. @param {any} load */
const ownFiles = ({ files = {}, program, tokenizer, generation }) => ({ files, program, tokenizer, generation });

export class LanguageDesk {
  /** Open models by session. @type {Map<string, Model>} */ #models = new Map();
  /** Times that a worker was replaced. */
  restarts = 0;

  /** @param {{urls: import("./place.js").Urls, options: any}} hub @param {{report: (code: string, reason: string, more: object) => void, hear: (event: any) => void}} say */
  constructor({ urls, options }, { report, hear }) {
    this.urls = urls;
    this.options = options;
    this.report = report;
    this.hear = hear;
  }

  /**
   * Starts a worker and loads the model in it.
   * @param {{runtime: "lm" | "onnx", manifest: any, state: string, local?: any, threads: "auto" | number, context?: number, dtype?: string}} what @param {CallOptions} options
   */
  async open({ runtime, manifest, state, local, threads, context, dtype }, options) {
    const session = crypto.randomUUID();
    const { id, version, type } = manifest;
    const source = local ? ownFiles(local.load) : { id, version };
    const wish = runtime === "onnx" ? { threads: pickThreads(threads), dtype } : { threads: threads === "auto" ? undefined : pickThreads(threads) };
    const load = { ...source, ...wish, context: local ? undefined : context }; // a model of the user's own was compiled for the context already
    /** @type {Model} */ const model = { runtime, manifest, load, live: null, info: null };
    this.#models.set(session, model);
    try {
      await this.#live(model, options);
    } catch (error) {
      this.forget(session);
      throw error;
    }
    const { memory, ...info } = model.info;
    return { session, id, version, type, manifest, trust: state, info, memory: { indexBytes: 0, ...memory }, dimensions: info.dimensions, maxTokens: info.context };
  }

  /** @param {string} kind `lm.` and a kind of the worker @param {{session: string}} args @param {CallOptions} options */
  async call(kind, { session, ...args }, options) {
    const model = this.#models.get(session);
    if (!model) throw new Disposed("This session is not open. Load the model again.", { session });
    const { patience, abort } = await this.#live(model, {});
    options.signal?.throwIfAborted();
    const release = stopAtOnce(abort, options.signal);
    try {
      return await patience.call(kind, args, options);
    } finally {
      release();
    }
  }

  /** Ends the model's worker. @param {string} session @returns {boolean} whether there was such a model */
  forget(session) {
    const model = this.#models.get(session);
    this.#models.delete(session);
    model?.live?.then(({ patience }) => patience.connection.close(new Disposed("The session was disposed.")), () => {});
    return Boolean(model);
  }

  /** What is open. */
  list() {
    return [...this.#models].map(([session, { manifest, info }]) => ({ session, id: manifest.id, threads: info?.threads, build: info?.build }));
  }

  end() {
    for (const session of [...this.#models.keys()]) this.forget(session);
  }

  /** The model in a worker that lives; one that died is loaded again, from where it came, when it is next asked. @param {Model} model @param {CallOptions} options @returns {Promise<Live>} */
  async #live(model, options) {
    const before = model.live;
    const known = await before?.catch(() => null);
    if (known && !known.patience.connection.closed) return known;
    if (model.live !== before) return /** @type {Promise<Live>} */ (model.live); // another caller came first
    if (known?.patience.over) model.load.without = [...(model.load.without ?? []), model.info.build]; // a build that hung is not tried again
    model.live = this.#start(model, options);
    return model.live;
  }

  /** @param {Model} model @param {CallOptions} options @returns {Promise<Live>} */
  async #start(model, options) {
    const [{ id }, url] = [model.manifest, this.urls[model.runtime]];
    const connection = connect(new Worker(url, { type: "module", name: `edgenet ${id}` }), `worker of ${id} (${url})`);
    const patience = new Patience(connection, { name: `worker of ${id}`, limit: this.options.testing.patience });
    const onEvent = (/** @type {any} */ event) => {
      this.hear(event);
      options.onEvent?.(event);
    };
    try {
      await connection.call("configure", { urls: this.urls, options: JSON.parse(JSON.stringify(this.options)) }, { onEvent });
      const { abort, ...answer } = await patience.call("lm.load", model.load, { signal: options.signal, onEvent });
      if (model.info) this.#restarted(model);
      model.info = answer;
      return { patience, abort };
    } catch (error) {
      connection.close(error); // half loaded is of no use
      throw error;
    }
  }

  /** @param {Model} model */
  #restarted({ manifest: { id } }) {
    this.restarts++;
    this.report("engine_restarted", `The worker of ${id} stopped and was started again; the model was loaded from where it came.`, { id });
  }
}

/**
 * A worker that computes hears no message; where memory is shared it reads this word at every barrier. @param {Int32Array | undefined} word
 * @param {AbortSignal | undefined} signal @returns {() => void} takes the listener away
 */
function stopAtOnce(word, signal) {
  if (!word || !signal) return () => {};
  const stop = () => { Atomics.store(word, 0, 1); };
  signal.addEventListener("abort", stop, { once: true });
  return () => signal.removeEventListener("abort", stop);
}
