/** Played loader, Python and language workers: the protocol of docs/engine.md without a model. A language worker answers with the prompt's words, one at a time. */
import { AdapterMismatch, AdapterNotFound, AdapterPoolFull, ProgramTooLarge, toData } from "../../web/sdk/errors.js";
import { ModelLoader } from "../../web/sdk/loader.js";
import { connect, serve } from "../../web/workers/rpc.js";
import { PlayedIndexedDB } from "./played_idb.mjs";

export const MANIFEST = { id: "m", name: "M", version: "1", type: "text-generation", artifacts: { model: { filename: "m.gguf" }, program: { filename: "program.json" } } };
const INFO = { name: "M", architecture: "qwen2", parameters: 7, context: 64, vocabulary: 100, threads: 1, build: "simd", isolated: false, why: [], chat: true };
export const MEMORY = { modelBytes: 70, kvCacheBytes: 16, arenaBytes: 8, wasmBytes: 128, pages: { total: 4, used: 1, shared: 0 } };
export const COMPILED = {
  program: { weights: [{ bytes: 300 }], buffers: [{ name: "logits" }] }, tokenizer: { model: {} },
  generation: { architecture: "qwen2", name: "Mine", quantization: "Q8_0" },
};

/** Everything that was made and asked in one test. */
export class Stage {
  /** @type {LanguageWorker[]} */ workers = [];
  /** Generations that run now, and the most that ever ran together. */
  running = 0;
  most = 0;
  /** @type {any[]} */ compiles = [];
  /** What Python was asked about adapters. @type {string[]} */ python = [];
  /** What Python was asked about training, and how it trains. @type {any[]} */ trained = [];
  course = async (/** @type {any} */ _python, /** @type {any} */ _context) => {};
  /** How it merges into the base, and what a model is worth. @type {(kind: string, args: any, context: any) => Promise<any>} */ library = async () => null;
  /** What answers about trainings have beside the text. @type {any} */ more = {};
  /** @type {((python: any) => void) | null} Python was told of a way */ onLine = null;
  /** @type {string[]} */ said = [];
  manifest = MANIFEST;
  compiled = COMPILED;
  tooLarge = false;
  /** The model's `base_id`, where it was published with it. @type {string | null} */
  base = null;
  /** Name of an adapter that workers refuse from now on. */
  refused = "";
  /** Loads of adapters that end their worker from now on. */
  dying = 0;
  /** Answers of `lm.load` beyond the usual. */
  load = {};
  /** Engine builds that never come to an end of starting. @type {string[]} */
  hanging = [];
  /** What a worker says when its engine breaks while it generates. @type {any[]} */
  recovery = [];

  /** @param {import("node:test").TestContext} t @param {object} [options] of the loader */
  constructor(t, options = {}) {
    const before = { Worker: globalThis.Worker, navigator: Object.getOwnPropertyDescriptor(globalThis, "navigator"), indexedDB: globalThis.indexedDB };
    const stage = this;
    globalThis.Worker = /** @type {any} */ (function make(url) { return new (KINDS.find(([end]) => String(url).endsWith(end))?.[1] ?? Played)(stage, String(url)); });
    Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });
    globalThis.indexedDB = /** @type {any} */ (new PlayedIndexedDB());
    this.loader = new ModelLoader({ frame: false, urls: { base: "https://site.example/" }, ...options });
    this.loader.addEventListener("notice", ({ detail }) => this.said.push(detail.code));
    t.after(() => {
      this.loader.dispose();
      globalThis.Worker = before.Worker;
      Object.defineProperty(globalThis, "navigator", before.navigator ?? { value: undefined, configurable: true });
      globalThis.indexedDB = before.indexedDB;
    });
  }

  get alive() { return this.workers.filter(({ ended }) => !ended); }
}

/** Answers kinds by its methods; what they throw crosses as data. */
class Played extends EventTarget {
  ended = false;
  /** @type {Map<number, AbortController>} */ calls = new Map();

  /** @param {Stage} stage @param {string} url */
  constructor(stage, url) {
    super();
    Object.assign(this, { stage, url });
    this.stage = stage;
  }

  async postMessage({ id, kind, args, cancel }, transfer = []) {
    if (cancel) return this.calls.get(id)?.abort();
    if (kind === "alive" || kind === "rpc.alive") return;
    const controller = new AbortController();
    this.calls.set(id, controller);
    let answer;
    try {
      const emit = (event) => this.#send({ id, event });
      answer = { id, result: (await this[kind]?.(structuredClone(args, { transfer }), { signal: controller.signal, emit })) ?? null };
    } catch (error) {
      answer = { id, error: toData(error) };
    }
    this.#send(answer);
  }

  #send(data) {
    queueMicrotask(() => this.ended || this.dispatchEvent(Object.assign(new Event("message"), { data })));
  }

  die() { this.dispatchEvent(Object.assign(new Event("error"), { message: "out of memory" })); }

  terminate() { this.ended = true; }
}

class LoaderWorker extends Played {
  pull = () => ({ manifest: this.stage.manifest, state: "signed" });
}

class PythonWorker extends Played {
  /** Wants the first bytes of every file before it answers. */
  compile({ files, ranges, context }) {
    this.stage.compiles.push({ files, ranges, context });
    if (this.stage.tooLarge) throw new ProgramTooLarge("it needs 5000000300 bytes", { needed: 5000000300 });
    const unread = files[ranges.length];
    return unread ? { wanted: [unread[0], 0, 4] } : { ...this.stage.compiled, names: files.map(([name]) => name).sort() };
  }

  adapted({ files: [[name]], ranges: [range], capacity }) {
    this.stage.python.push("adapted");
    return range ? { document: { capacity } } : { wanted: [name, 2, 3] };
  }

  bind({ files: [[name]], ranges: [range], adapter }) {
    this.stage.python.push("bind");
    return range ? { bytes: ready(Object.keys(adapter).join("+")) } : { wanted: [name, 2, 3] };
  }
}

/** What the Python worker answers about trainings and kept adapters; its way to the language worker is the one it was told last. */
for (const kind of ["start", "pause", "resume", "cancel", "adapter", "keep", "discard", "evaluate"]) {
  PythonWorker.prototype[`train.${kind}`] = async function answer({ json, line, binary }, context) {
    const { model, ...args } = JSON.parse(json);
    this.stage.trained.push([kind, args, { model, line, binary }]);
    const work = { start: () => this.stage.course(this, context), evaluate: () => this.stage.library("train.evaluate", args, context) };
    return { json: JSON.stringify((await work[kind]?.()) ?? null), ...this.stage.more };
  };
}
PythonWorker.prototype["library.into"] = async function into({ json }, context) {
  const { model: _, ...args } = JSON.parse(json);
  return { json: JSON.stringify(await this.stage.library("library.into", args, context)) };
};
PythonWorker.prototype["train.line"] = function line({ port, error }) {
  this.lent?.close();
  this.lent = port && connect(port);
  this.stage.trained.push(["line", error?.code ?? "given"]);
  this.stage.onLine?.(this);
};

/** Adapters of Python: it wants the beginning of the model's file first, and ends with its name. @param {string} name @param {object} [more] metadata */
const ready = (name, more = {}) => {
  const header = JSON.stringify({ __metadata__: { format: "edgenet-adapter", name, ...more } });
  const bytes = new Uint8Array(8 + header.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(new TextEncoder().encode(header), 8);
  return bytes;
};
export { ready };

const turn = () => new Promise((resolve) => { setImmediate(resolve); });

class LanguageWorker extends Played {
  /** What `lm.load` was given. @type {any} */ loaded = null;
  /** @type {any[]} */ asked = [];
  cancelled = 0;

  constructor(stage, url) {
    super(stage, url);
    stage.workers.push(this);
  }

  async "lm.load"(args, { emit }) {
    this.loaded = args;
    const build = ["relaxed", "simd"].find((name) => !args.without?.includes(name));
    emit({ status: "notice", code: "engine_build", reason: `The engine build ${build} is started.`, build });
    if (this.stage.hanging.includes(build)) await new Promise(() => {});
    emit({ status: "progress", phase: "repack", loaded: 1, total: 1 });
    return { ...INFO, memory: MEMORY, ...this.stage.load };
  }

  async "lm.generate"({ prompt, messages, tokens, options }, { signal, emit }) {
    this.asked.push({ prompt, messages, tokens, options });
    const words = (prompt ?? messages?.at(-1).content ?? tokens.join(" ")).split(/(?<= )/).slice(0, options.maxTokens);
    const { stage } = this;
    stage.most = Math.max(stage.most, ++stage.running);
    emit({ status: "prefill", loaded: words.length, total: words.length });
    try {
      for (const [i, text] of words.entries()) {
        await turn();
        if (text.startsWith("fail")) throw new RangeError("this prompt fails");
        if (text.startsWith("broken")) stage.recovery.forEach(emit);
        if (text.startsWith("never")) await new Promise(() => {});
        if (signal.aborted) {
          this.cancelled++;
          throw signal.reason;
        }
        emit({ status: "piece", text, tokens: [i] });
      }
      return { text: words.join(""), tokens: words.map((_, i) => i), reason: words.length < options.maxTokens ? "stop" : "length", seed: options.seed,
        usage: { prompt: 3, completion: words.length, cached: 1 }, timings: { prefillMs: 4, firstMs: 5, decodeMs: 100 } };
    } finally {
      stage.running--;
    }
  }

  /** @type {Map<string, any>} */ adapters = new Map();

  async "lm.adapters.load"({ id, bytes, pinned, document }) {
    if (this.stage.dying-- > 0) return this.die();
    const { name, base_sha256: baseSha256 = "" } = JSON.parse((await bytes.text()).slice(8)).__metadata__;
    if ((id ?? name) === this.stage.crowded) throw new AdapterPoolFull("all are pinned");
    if (name === this.stage.refused) throw new AdapterMismatch("made for another model");
    this.adapters.set(id ?? name, { pinned, document });
    return { id: id ?? name, name, pinned, baseSha256 };
  }

  "lm.adapters.unload"({ id }) {
    if (!this.adapters.delete(id)) throw new AdapterNotFound(id);
  }

  "lm.adapters.list" = () => ({ adapters: [...this.adapters.keys()].map((id) => (id === this.stage.evicted ? { id, slot: -1 } : { id })) });
  "lm.adapters.base" = () => ({ base: this.stage.base });
  "lm.source" = ({ ranges = [] }) => ({ sizes: { model: 9 }, capacity: { rows: 32 }, parts: ranges.map(([, , length]) => new Uint8Array(length)) });
  "lm.encode" = ({ text }) => ({ tokens: [...text].map((c) => c.charCodeAt(0)) });
  "lm.decode" = ({ tokens }) => ({ text: String.fromCharCode(...tokens) });
  /** Lends itself until it is cancelled. */
  "lm.serve"({ port }, { signal }) {
    const served = serve(port, { "lm.encode": this["lm.encode"] });
    this.lent = (this.lent ?? 0) + 1;
    return new Promise((resolve) => { signal.addEventListener("abort", () => { served.close(); port.close(); this.lent--; resolve(null); }); });
  }

  "lm.memory" = () => MEMORY;
  "lm.clear" = () => { this.cleared = true; };
}

/** @type {[string, any][]} end of the worker's address → class */
const KINDS = [["loader.js", LoaderWorker], ["python.js", PythonWorker], ["lm.js", LanguageWorker], ["onnx.js", LanguageWorker]];
