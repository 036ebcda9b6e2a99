/**
 * The Hub owns the workers: it starts each when first needed, replaces one that died, and is the only thing that talks to them.
 * Lives in the page, or in EdgeNet's frame on somebody else's page. It decides nothing about models.
 */
import { connect } from "../workers/rpc.js";
import { Disposed, UnknownKind } from "./errors.js";
import { forgetRun, keptStore } from "../loader/kept.js";
import { MadeFiles } from "../loader/made.js";
import { KernelDesk } from "./kernels.js";
import { LanguageDesk, localRuntimeOf, runtimeOf } from "./language-desk.js";
import { Patience } from "./patience.js";
import { describe, pickThreads, reasonsOf } from "./status.js";

/** @typedef {import("../workers/rpc.js").Connection} Connection @typedef {import("../workers/rpc.js").CallOptions} CallOptions */
/** @typedef {{status: "fallback" | "notice", code: string, reason: string, [more: string]: any}} Report */

const WORKERS = /** @type {const} */ (["loader", "engine", "python"]);

export class Hub {
  /** @type {Map<string, {connection: Connection, patience: Patience, ready: Promise<Connection>}>} */ #workers = new Map();
  /** Sessions the engine is expected to hold. @type {Map<string, {id: string, version: string, threads: number, adapter: any, indexed: boolean, build?: string, without?: (string | undefined)[]}>} */
  #sessions = new Map();
  /** @type {Set<(report: Report) => void>} */ #listeners = new Set();
  /** @type {Map<string, Report>} fallbacks said so far */ #said = new Map();
  #closed = false;
  #restarts = 0;
  #compiles = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #idle;
  /** Python was asked for more than compiling, so it has something to keep. */
  #pythonStays = false;

  /** @param {{urls: import("./place.js").Urls, options: any, framed?: boolean, owner?: string}} config `options` as `readOptions` gives them; `owner`: the origin around a frame */
  constructor({ urls, options, framed = false, owner }) {
    this.owner = owner;
    this.kept = keptStore(owner); // opens nothing yet
    this.made = new MadeFiles();
    this.urls = urls;
    this.options = options;
    this.framed = framed;
    this.threads = pickThreads(options.threads);
    this.kernels = new KernelDesk(this, (code, reason, more) => this.#report(code, reason, more));
    this.languages = new LanguageDesk(this, { report: (code, reason, more) => this.#report(code, reason, more), hear: (event) => this.#hear(event), python: (kind, args, options) => this.#compile(kind, args, options) });
  }

  /** kind → handler, for what the Hub does itself. @type {Record<string, (args: any, options: CallOptions) => any>} */
  #own = {
    "hub.open": (args, options) => this.#open(args, options),
    "hub.close": (args) => this.#forget(args),
    "hub.status": () => this.#status(),
    "hub.events": (_args, options) => this.#listen(options),
    "hub.stop": ({ worker }) => this.#stop(worker),
    "hub.persist": () => persist(),
    "hub.discard": ({ made }) => this.made.discard(made),
    "hub.forget": ({ run }) => forgetRun(this.kept, run),
    "hub.kernels": () => this.kernels.list(),
    "hub.kernels.run": (args, options) => this.kernels.run(args, options),
    "hub.kernels.add": (args, options) => this.kernels.add(args, options),
    "python.compile": (args, options) => this.#compile("compile", args, options),
    "engine.adapter.set": (args, options) => this.#setAdapter(args, options),
    "engine.index.put": (args, options) => this.#indexPut(args, options),
  };

  /**
   * Asks a worker (`loader.pull`, `engine.embed`, `python.teach.mark`, …) or the Hub (`hub.open`, `hub.status`, …).
   * @param {string} kind @param {any} [args] @param {CallOptions} [options] @returns {Promise<any>}
   */
  async call(kind, args = {}, options = {}) {
    if (this.#closed) throw new Disposed("This ModelLoader was disposed. Make a new one.");
    if (Object.hasOwn(this.#own, kind)) return this.#own[kind](args, options);
    const [name, ...rest] = kind.split(".");
    if (name === "lm") return this.languages.call(kind, args, options);
    // `configure` says whom a worker believes and whose code it imports: that is said here alone, never by a caller.
    this.#pythonStays ||= name === "python";
    if (!WORKERS.includes(/** @type {any} */ (name)) || rest.join(".") === "configure") throw new UnknownKind(`Nobody answers "${kind}". Workers: ${WORKERS.join(", ")}.`, { kind });
    return this.#ask(name, rest.join("."), args, options);
  }

  /** Ends every worker; everything that waits is rejected. */
  close() {
    this.#closed = true;
    clearTimeout(this.#idle);
    for (const { connection } of this.#workers.values()) connection.close(new Disposed("The ModelLoader was disposed."));
    this.#workers.clear();
    this.kernels.close();
    this.languages.end();
    this.made.close();
    this.#listeners.clear();
  }

  /** @param {string} code @param {string} reason @param {object} [more] */
  #report(code, reason, more = {}, status = /** @type {"fallback" | "notice"} */ ("notice")) {
    const report = { status, code, reason, ...more };
    if (status === "fallback") {
      if (this.#said.has(code)) return;
      this.#said.set(code, report);
    }
    for (const listener of this.#listeners) listener(report);
  }

  /** Never answers; emits what was said before and all that comes, until cancelled. @param {CallOptions} options */
  #listen({ signal, onEvent = () => {} }) {
    this.#noteLimits();
    for (const report of this.#said.values()) onEvent(report);
    this.#listeners.add(onEvent);
    return new Promise((_, reject) => signal?.addEventListener("abort", () => {
      this.#listeners.delete(onEvent);
      reject(signal.reason);
    }, { once: true }));
  }

  #noteLimits() {
    for (const { code, reason } of reasonsOf(this)) this.#report(code, reason, {}, "fallback");
  }

  /** The worker of this name, ready; a dead one is replaced. @param {string} name @returns {Promise<Connection>} */
  async #worker(name) {
    if (this.#closed) throw new Disposed("The ModelLoader was disposed."); // who goes on after an answer that came before
    const known = this.#workers.get(name);
    if (known && !known.connection.closed) return known.ready;
    if (known?.patience.over) for (const session of this.#sessions.values()) session.without = [...(session.without ?? []), session.build]; // as with languages
    return this.#start(name, Boolean(known));
  }

  /** @param {string} name @param {boolean} again after a death @returns {Promise<Connection>} */
  #start(name, again) {
    const url = this.urls[/** @type {"loader"} */ (name)];
    const connection = connect(new Worker(url, { type: "module", name: `edgenet ${name}` }), `${name} worker (${url})`);
    const ready = this.#prepare(name, connection, again).catch((error) => {
      connection.close(error); // half prepared is of no use: the next call starts another
      throw error;
    });
    const patience = new Patience(connection, { name, limit: this.options.testing.patience });
    this.#workers.set(name, { connection, patience, ready });
    return ready;
  }

  /** @param {string} name @param {Connection} connection @param {boolean} again */
  async #prepare(name, connection, again) {
    const onEvent = (/** @type {any} */ event) => this.#hear(event);
    await connection.call("configure", { urls: this.urls, options: plain(this.options), owner: this.owner }, { onEvent });
    if (name !== "engine") return connection;
    if (again) await this.#restore(connection);
    this.#watch(connection);
    return connection;
  }

  /** Workers may report fallbacks at any time through the events of any call. @param {any} event */
  #hear(event) {
    if (event?.status === "fallback" || event?.status === "notice") this.#report(event.code, event.reason, event, event.status);
  }

  /** Loads the sessions that a dead engine held; one that cannot be had again is given up, and said. @param {Connection} engine */
  async #restore(engine) {
    for (const [session, known] of this.#sessions) {
      await this.#reload(engine, session, known).catch((error) => {
        if (engine.closed) throw error; // it died again
        this.#sessions.delete(session);
        this.#report("session_lost", `${known.id} could not be loaded again after the engine stopped: ${error.message}`, { session, was: error.code });
      });
    }
    this.#restarts++;
    this.#report("engine_restarted", "The engine stopped and was started again; its models were loaded from the cache.", { sessions: [...this.#sessions.keys()] });
  }

  /** @param {Connection} engine @param {string} session @param {any} known */
  async #reload(engine, session, { adapter, indexed, build, ...model }) {
    const answer = await engine.call("load", { session, ...model, indexLost: indexed });
    Object.assign(this.#sessions.get(session) ?? {}, { build: answer.build });
    if (adapter) await engine.call("adapter.set", { session, ...adapter });
  }

  /** Restores a dead engine at once, not only when somebody asks: a call that never answers tells of the death. @param {Connection} engine */
  async #watch(engine) {
    const reason = await engine.call("alive", {}, { onEvent: (event) => this.#hear(event) }).catch((error) => error);
    if (this.#closed || reason instanceof Disposed || this.#workers.get("engine")?.connection !== engine || !this.#sessions.size) return;
    await this.#worker("engine").catch((error) => this.#report("engine_lost", `The engine could not be started again: ${error.message}`, { was: reason.message }));
  }

  /**
   * Opens a model of the site (`id`, `version`) or one of the user's own (`local`, as local-model.js makes it), in the worker that runs its kind.
   * @param {{id?: string, version?: string, local?: any, threads?: "auto" | number, context?: number, dtype?: string}} args @param {CallOptions} options
   */
  async #open({ id, version, local, threads = this.options.threads, context, dtype }, options) {
    const { manifest, state } = local ? { manifest: local.manifest, state: "unsigned" } : await this.call("loader.pull", { id, version }, options);
    const runtime = local ? localRuntimeOf(manifest) : runtimeOf(manifest);
    if (runtime !== "engine") return this.languages.open({ runtime, manifest, state, local, threads, context, dtype }, options);
    const session = crypto.randomUUID();
    const model = { id: manifest.id ?? id, version: manifest.version, threads: pickThreads(threads) };
    const answer = await this.call("engine.load", { session, ...model }, options).catch((error) => {
      this.#forget({ session }).catch(() => {}); // a cancel can cross the answer: the engine would hold what nobody has
      throw error;
    });
    this.#sessions.set(session, { ...model, adapter: null, indexed: false, build: answer.build });
    return { ...answer, session, trust: state };
  }

  /** @param {{session: string}} args */
  async #forget({ session }) {
    if (this.languages.forget(session)) return;
    this.#sessions.delete(session);
    const engine = this.#workers.get("engine");
    if (engine && !engine.connection.closed) await (await engine.ready).call("dispose", { session });
  }

  /** An index that holds something must not seem merely empty after a restart. @param {any} args @param {CallOptions} options */
  async #indexPut(args, options) {
    const known = this.#sessions.get(args.session);
    if (known) known.indexed = true;
    return this.#ask("engine", "index.put", args, options);
  }

  /** @param {any} args @param {CallOptions} options */
  async #setAdapter(args, options) {
    const answer = await this.#ask("engine", "adapter.set", args, options);
    const known = this.#sessions.get(args.session);
    if (known) known.adapter = args.A ? { A: args.A, B: args.B, alpha: args.alpha } : null;
    return answer;
  }

  /**
   * Python holds more memory than many a model: when all is compiled, and it has nothing else to keep, it is ended; also
   * when who was to send it more of a file says nothing for as long as patience lasts. @param {string} kind of Python's @param {any} args
   * @param {CallOptions} [options]
   */
  async #compile(kind, args, options = {}) {
    let wanted = STAYS.test(kind); // also where it is refused: what was learned is there still
    this.#compiles++;
    clearTimeout(this.#idle);
    try {
      const answer = await this.#ask("python", kind, args, options);
      wanted ||= "wanted" in answer;
      this.#pythonStays ||= answer?.kept === false; // what was learned is in its memory alone
      return answer;
    } finally {
      this.#compiles--;
      clearTimeout(this.#idle); // another call's, that ended before this one
      const end = () => { if (!this.#compiles && !this.#pythonStays) this.#stop("python"); };
      if (wanted) this.#idle = setTimeout(end, this.options.testing.patience);
      else end();
    }
  }

  /** Ends one worker without harm to the others (Python gives its memory back). @param {string} name */
  #stop(name) {
    this.#workers.get(name)?.connection.close(new Disposed(`The ${name} worker was stopped.`));
    this.#workers.delete(name);
  }

  async #status() {
    const engine = this.#workers.get("engine");
    const own = engine && !engine.connection.closed ? await (await engine.ready).call("status") : null;
    return { ...(await describe(this)), engine: own, restarts: this.#restarts + this.languages.restarts, python: this.#workers.has("python"), languages: this.languages.list() };
  }

  /** Asks one worker; only the engine is expected to say something all the time. @param {string} name @param {string} kind @param {any} args @param {CallOptions} options */
  async #ask(name, kind, args, options) {
    const connection = await this.#worker(name);
    const onEvent = (/** @type {any} */ event) => {
      this.#hear(event);
      options.onEvent?.(event);
    };
    const known = this.#workers.get(name);
    const asked = name === "engine" && known?.connection === connection ? known.patience : connection;
    return asked.call(kind, args, { ...options, onEvent });
  }
}

/** Kinds after which others follow soon: Python stays for a while. */
const STAYS = /^(train|library)\./;

/** Asked in a page, where the browser may show a question; a worker may not ask. @returns {Promise<{persisted: boolean}>} */
async function persist() {
  const { storage } = navigator;
  return { persisted: Boolean((await storage?.persisted?.()) || (await storage?.persist?.())) };
}

/** Options without functions, which cannot cross to a worker. @param {any} options */
const plain = (options) => JSON.parse(JSON.stringify(options));
