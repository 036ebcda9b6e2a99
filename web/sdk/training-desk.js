/**
 * The Hub's desk for training one model: lends Python a way to the model's worker while it is asked something, and another when that worker was
 * replaced. What is kept is listed without Python. Page and frame.
 */
import { hasAdapters, keepPinned, keepUsed, keptAdapters, keptRuns, knownBase, readyBytes } from "../loader/kept.js";
import { otherFile } from "./adapter-desk.js";
import { AdapterNotFound, Disposed, WorkerDied, toData } from "./errors.js";

/** @typedef {import("../workers/rpc.js").CallOptions} CallOptions @typedef {import("./adapter-desk.js").Ask} Ask */

/** Workers that may end while one is lent, before it is given up. */
const PATIENCE = 8;

export class TrainingDesk {
  #line = crypto.randomUUID();
  #users = 0;
  /** The model's `base_id`. @type {string | null} */ #told = null;
  /** Ids of trainings under way: one, and those that are about to be refused. @type {Set<string>} */ #courses = new Set();
  /** @type {AbortController | null} */ #lent = null;

  /** @param {any} manifest of the model @param {Ask} python @param {import("../loader/kept.js").Store} store @param {import("../loader/made.js").MadeFiles} made */
  constructor(manifest, python, store, made) {
    this.python = python;
    this.store = store;
    this.made = made;
    const { id, version, artifacts = {} } = manifest;
    const filenames = Object.fromEntries(Object.entries(artifacts).map(([name, { filename }]) => [name, filename]));
    this.model = { key: `${id}@${version}`, filenames, sha256: artifacts.model?.sha256 ?? "" };
  }

  /** kind → what is done beside asking Python, or without it. @type {Record<string, (ask: Ask, args: any, options: CallOptions) => Promise<any>>} */
  #own = {
    "train.start": (ask, args, options) => this.#train(ask, args, options),
    "train.runs": () => keptRuns(this.store, this.model.key),
    "library.list": async (ask, _args, options) => {
      const found = (await hasAdapters(this.store)) ? await keptAdapters(this.store, await this.#base(ask, options)) : [];
      return found.map((one) => ({ ...one, otherFile: otherFile(one.baseSha256, this.model.sha256) }));
    },
    "library.ready": async (ask, { id }, options) => {
      const [bytes, { name, pinned }] = [await readyBytes(this.store, id), await this.#saved(ask, id, options)];
      keepUsed(this.store, id).catch(() => {}); // storage that is full, or another tab's long change, is in nobody's way
      return { name, pinned, bytes: bytes ?? (await this.#asked(ask, "library.ready", { id }, options)).bytes };
    },
    "library.pin": async (ask, { id, pinned }, options) => {
      await this.#saved(ask, id, options);
      await keepPinned(this.store, id, pinned);
      return this.#saved(ask, id, options);
    },
    "library.into": (ask, args, options) => this.made.make(async (made) => {
      const { file, ...more } = await this.#asked(ask, "library.into", { ...args, made }, options);
      return { ...more, made, file: await this.made.open(made, file) };
    }),
  };

  /** @param {Ask} ask the model's worker @param {string} kind `train.…` or `library.…` @param {any} args @param {CallOptions} options */
  async call(ask, kind, args, options) {
    if (Object.hasOwn(this.#own, kind)) return this.#own[kind](ask, args, options);
    const answer = await this.#asked(ask, kind, args, options);
    return LISTED.has(kind) ? this.#saved(ask, answer.id, options) : answer;
  }

  /** @param {Ask} ask @param {any} args @param {CallOptions} options */
  async #train(ask, args, options) {
    this.#courses.add(args.id);
    try {
      return await this.#asked(ask, "train.start", args, options);
    } finally {
      this.#courses.delete(args.id);
    }
  }

  /** Everything but bytes crosses to Python as text, for its None is no null. @param {Ask} ask @param {string} kind @param {any} args @param {CallOptions} options */
  async #asked(ask, kind, { packed, files, ...args }, { onEvent, signal } = {}) {
    const release = this.#lend(ask);
    const binary = Object.fromEntries(Object.entries({ packed, files }).filter(([, value]) => value !== undefined));
    try {
      const { json, ...more } = await this.python(kind, { line: this.#line, json: JSON.stringify({ model: this.model, ...args }), binary }, { onEvent, signal });
      return { ...JSON.parse(json), ...more };
    } finally {
      release();
    }
  }

  /** @param {Ask} ask @param {string} id @param {CallOptions} options @returns {Promise<import("./adapters.js").SavedAdapter>} */
  async #saved(ask, id, options) {
    const all = await this.#own["library.list"](ask, {}, options);
    const found = all.find((/** @type {any} */ one) => one.id === id);
    if (!found) throw new AdapterNotFound(`No adapter "${String(id).slice(0, 100)}" of this model is kept here. Look at saved().`, { id });
    return found;
  }

  /** Python is asked of a model alone that nobody trained here and that was published without its base. @param {Ask} ask @param {CallOptions} options */
  async #base(ask, options) {
    this.#told ??= (await knownBase(this.store, this.model.key)) ?? (await ask("lm.adapters.base", {}, options)).base;
    return this.#told ?? (await this.#asked(ask, "library.base", {}, options)).base;
  }

  /** Lends the worker to Python until the last who needs it is served. @param {Ask} ask @returns {() => void} */
  #lend(ask) {
    this.#users++;
    this.#lent ??= this.#start(ask);
    return () => {
      if (--this.#users) return;
      this.#lent?.abort();
      this.#lent = null;
    };
  }

  /** @param {Ask} ask */
  #start(ask) {
    const lent = new AbortController();
    this.#serve(ask, lent.signal).catch((error) => this.#end(error)).catch(() => {}); // Python that ended tells its callers itself
    return lent;
  }

  /** There is no worker any more. A training that is paused asks for none: it goes on to hear of it. @param {any} error */
  async #end(error) {
    await this.#tell({ error: toData(error) });
    for (const id of this.#courses) await this.python("train.resume", { line: this.#line, json: JSON.stringify({ model: this.model, id }) });
  }

  /** @param {Ask} ask @param {AbortSignal} signal */
  async #serve(ask, signal) {
    for (let ended = 0; ; ended++) {
      const { port1, port2 } = new MessageChannel();
      const served = ask("lm.serve", { port: port1 }, { transfer: [port1], signal });
      served.catch(() => {}); // told below
      await this.#tell({ port: port2 });
      const error = await served.catch((/** @type {any} */ reason) => reason);
      port1.close(); // where it did not get as far as the worker
      if (signal.aborted) return;
      if (error instanceof Disposed || !isEnd(error) || ended === PATIENCE) throw error;
    }
  }

  /** @param {{port?: MessagePort, error?: any}} what */
  #tell({ port, error }) {
    return this.python("train.line", { line: this.#line, port, error }, port ? { transfer: [port] } : {});
  }
}

/** Kinds whose answer is the adapter as it is kept now. */
const LISTED = new Set(["train.keep", "library.import", "library.rename", "library.describe", "library.merge"]);

/** Whether the worker ended, and another may be started. @param {any} error */
const isEnd = (error) => error instanceof WorkerDied || error?.code === "engine_deadline";
