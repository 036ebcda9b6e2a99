/**
 * The Hub's desk for language models: one worker per loaded model, watched, replaced when it died, ended with its session. Page and frame.
 * It knows nothing of tokens; it knows which worker runs which kind of model, and how a cancel reaches a worker that computes.
 */
import { connect } from "../workers/rpc.js";
import { AdapterDesk } from "./adapter-desk.js";
import { Disposed, NotSupported } from "./errors.js";
import { Patience } from "./patience.js";
import { pickThreads } from "./status.js";
import { TrainingDesk } from "./training-desk.js";

/** @typedef {import("../workers/rpc.js").CallOptions} CallOptions @typedef {import("../workers/rpc.js").Connection} Connection */

/**
 * @typedef {object} Model an open one
 * @property {"lm" | "onnx"} runtime @property {any} manifest @property {any} load arguments of `lm.load`
 * @property {AdapterDesk} adapters that are loaded @property {TrainingDesk} training
 * @property {Promise<Live> | null} live @property {Connection | null} connection of the worker started last @property {any} info what `lm.load` answered last
 * @typedef {{patience: Patience, build: string | undefined, abort: Int32Array | undefined}} Live `build`: the engine's, started last; `abort`: the word that
 *   stops a run, where memory is shared
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

  /** @param {{urls: import("./place.js").Urls, options: any, kept: import("../loader/kept.js").Store, made: import("../loader/made.js").MadeFiles}} hub @param {{report: (code: string, reason: string, more: object) => void, hear: (event: any) => void, python: import("./adapter-desk.js").Ask}} say */
  constructor({ urls, options, kept, made }, { report, hear, python }) {
    this.kept = kept;
    this.made = made;
    this.urls = urls;
    this.options = options;
    this.report = report;
    this.hear = hear;
    this.python = python;
  }

  /** kind → what is done here beside asking the model's worker. @type {Record<string, (desk: AdapterDesk, ask: import("./adapter-desk.js").Ask, args: any, options: CallOptions) => Promise<any>>} */
  #own = {
    "lm.adapters.load": (desk, ask, args, options) => desk.load(ask, args, options),
    "lm.adapters.unload": (desk, ask, { id }, options) => desk.unload(ask, id, options),
  };

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
    /** @type {Model} */ const model = { runtime, manifest, load, adapters: new AdapterDesk(manifest, this.python, (code, reason) => this.report(code, reason, { id })), training: new TrainingDesk(manifest, this.python, this.kept, this.made), live: null, connection: null, info: null };
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
    if (model.runtime === "onnx" && kind.startsWith("lm.adapters.")) throw new NotSupported("Adapters run on EdgeNet's own engine alone; this is an ONNX decoder. Load a GGUF file of the model.", { kind });
    const ask = (/** @type {string} */ what, /** @type {any} */ of, /** @type {CallOptions} */ how = {}) => this.#ask(model, what, of, how);
    const learns = /^lm\.(train|library)\./.test(kind);
    if (learns && model.runtime === "onnx") throw new NotSupported("ONNX decoders are not trained. Load a GGUF file of this model.", {});
    if (learns) return model.training.call(ask, kind.slice("lm.".length), args, options);
    return this.#own[kind]?.(model.adapters, ask, args, options) ?? ask(kind, args, options);
  }

  /** @param {Model} model @param {string} kind @param {any} args @param {CallOptions} options */
  async #ask(model, kind, args, options) {
    const live = await unless(options.signal, this.#live(model, {}));
    const release = stopAtOnce(live, options.signal);
    try {
      return await live.patience.call(kind, args, { ...options, onEvent: this.#listener(model, live, options) });
    } finally {
      release();
    }
  }

  /** Ends the model's worker. @param {string} session @returns {boolean} whether there was such a model */
  forget(session) {
    const model = this.#models.get(session);
    this.#models.delete(session);
    model?.connection?.close(new Disposed("The session was disposed.")); // also one that is loading
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
    if (known?.patience.over) this.#giveUp(model, known);
    model.live = this.#start(model, options);
    return model.live;
  }

  /** A build that hung is not tried again. @param {Model} model @param {Live} live @returns {boolean} whether there was one to give up that had not been */
  #giveUp({ load }, { build }) {
    const { without = [] } = load;
    if (!build || without.includes(build)) return false;
    load.without = [...without, build];
    return true;
  }

  /** A build that hangs while it is started makes room for the next one, too. @param {Model} model @param {CallOptions} options @returns {Promise<Live>} */
  async #start(model, options) {
    for (;;) {
      const live = this.#worker(model);
      try {
        return await this.#load(model, live, options);
      } catch (error) {
        live.patience.connection.close(error); // half loaded is of no use
        if (!live.patience.over || !this.#giveUp(model, live)) throw error;
        this.hear({ status: "fallback", code: "engine_build_failed", reason: `The engine build ${live.build} failed (${error.message}); the next one is used.` });
      }
    }
  }

  /** @param {Model} model @returns {Live} with nothing loaded */
  #worker(model) {
    const [{ id }, url] = [model.manifest, this.urls[model.runtime]];
    if (![...this.#models.values()].includes(model)) throw new Disposed("The session was disposed.");
    const connection = connect(new Worker(url, { type: "module", name: `edgenet ${id}` }), `worker of ${id} (${url})`);
    model.connection = connection;
    return { patience: new Patience(connection, { name: `worker of ${id}`, limit: this.options.testing.patience }), build: undefined, abort: undefined };
  }

  /** @param {Model} model @param {Live} live @param {CallOptions} options @returns {Promise<Live>} */
  async #load(model, live, options) {
    const [{ patience }, onEvent] = [live, this.#listener(model, live, options)];
    await patience.connection.call("configure", { urls: this.urls, options: JSON.parse(JSON.stringify(this.options)) }, { onEvent });
    const { abort, ...answer } = await patience.call("lm.load", model.load, { signal: options.signal, onEvent });
    Object.assign(live, { abort, build: answer.build });
    if (model.info) await this.#restarted(model, live);
    model.info = answer;
    return live;
  }

  /** What a worker says of itself in any call's events: who goes on with another engine build has another abort word. @param {Model} model @param {Live} live @param {CallOptions} options */
  #listener(model, live, { onEvent }) {
    return (/** @type {any} */ event) => {
      if (event?.code === "engine_build") live.build = event.build;
      if (event?.status === "recovered") {
        live.abort = event.abort;
        model.info = { ...model.info, build: live.build };
      } else onEvent?.(event);
      this.hear(event);
    };
  }

  /** @param {Model} model @param {Live} live */
  async #restarted({ manifest: { id }, adapters }, { patience }) {
    await adapters.restore((kind, args) => patience.call(kind, args), (adapter, error) => {
      if (patience.connection.closed) throw error; // it died again
      this.report("adapter_lost", `The adapter "${adapter}" of ${id} could not be loaded again: ${error.message}`, { id, adapter });
    });
    this.restarts++;
    this.report("engine_restarted", `The worker of ${id} stopped and was started again; the model was loaded from where it came.`, { id });
  }
}

/** What `work` answers, or the signal's reason before that; the work goes on for others. @template T @param {AbortSignal | undefined} signal @param {Promise<T>} work @returns {Promise<T>} */
async function unless(signal, work) {
  let stop = () => {};
  /** @type {Promise<never>} */
  const stopped = new Promise((_, reject) => { stop = () => reject(signal?.reason); });
  signal?.addEventListener("abort", stop, { once: true });
  if (signal?.aborted) stop();
  try {
    return await Promise.race([stopped, work]);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/**
 * A worker that computes hears no message; where memory is shared it reads this word at every barrier. @param {Live} live
 * @param {AbortSignal | undefined} signal @returns {() => void} takes the listener away
 */
function stopAtOnce(live, signal) {
  if (!signal) return () => {};
  const stop = () => { if (live.abort) Atomics.store(live.abort, 0, 1); };
  signal.addEventListener("abort", stop, { once: true });
  return () => signal.removeEventListener("abort", stop);
}
