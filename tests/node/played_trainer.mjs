/** A played language session that trains and keeps adapters: the interface of web/sdk/trainer.js and adapters.js without a model. */
import { AdapterExists, AdapterNotFound, AbortError, StorageError } from "../../web/sdk/errors.js";

/** What an adapter's content is named after: what does the same has the same id. */
const idOf = (name) => `id-${name}`;

export class PlayedSession {
  operations = ["generate"];
  info = { parameters: 7_000_000, chat: true };
  /** @type {Map<string, any>} */ kept = new Map();
  /** @type {Map<string, any>} */ runs = new Map();
  /** What was asked, in order. @type {string[]} */ asked = [];
  used = [];
  /** Whole models. @type {any[]} */ made = [];
  loaded = new Set();
  full = false;

  getMemoryInfo = () => ({ modelBytes: 7e6, kvCacheBytes: 1e6, arenaBytes: 1e6 });
  encode = async (text) => [...text].map((c) => c.charCodeAt(0));

  async complete({ prompt, tokens, messages }, { adapters = [] }) {
    const missing = adapters.find(({ id }) => !this.loaded.has(id));
    if (missing) throw new AdapterNotFound(missing.id);
    this.asked.push(tokens ? "read" : messages ? `ask ${messages[0].content}` : `complete ${prompt}`);
    return { text: `${prompt}|${adapters.map(({ id }) => id)}`, timings: { prefillMs: 100 }, usage: { prompt: tokens?.length ?? 3, cached: 0 } };
  }

  createTrainer = (options) => new PlayedTrainer(this, { options, id: `run-${this.runs.size}`, state: "new", step: 0, name: options.name, steps: options.training.maxSteps, metrics: { tokensPerSecond: 512, losses: [], validations: [] } });
  trainers = async () => [...this.runs.values()];
  resumeTrainer = async (id) => new PlayedTrainer(this, this.runs.get(id));

  adapters = {
    saved: async () => [...this.kept.values()],
    router: null,
    keep: async (source, { name, metrics }) => {
      if (this.full) throw new StorageError("no room");
      return this.#put(source.id, name, metrics);
    },
    import: async (source, { name, metrics, profile }) => {
      const { content, own } = source.file ?? source;
      return this.#put(content ?? idOf(name ?? own), name ?? own ?? "nameless", metrics, profile);
    },
    load: async ({ saved }) => {
      this.asked.push(`load ${saved}`);
      this.loaded.add(saved);
    },
    use: (used) => (this.used = used),
    rename: async (id, name) => this.#put(id, name, this.kept.get(id).metrics),
    describe: async (id, examples, { embedder }) => this.#put(id, this.kept.get(id).name, this.kept.get(id).metrics, { examples, model: embedder.id }),
    pin: async (id, pinned) => Object.assign(this.kept.get(id), { pinned }),
    remove: async (id) => void this.kept.delete(id),
    export: async (id, format) => Object.assign(new File([id], `${id}.${format}`), { content: id }),
    mergeIntoBase: async (part, { onProgress, ...how }) => {
      onProgress?.({ phase: "write", loaded: 1, total: 2 });
      const made = { part, how, file: new File(["GGUF"], `whole ${this.made.length}.gguf`), gone: false, discard: async () => { made.gone = true; } };
      this.made.push(made);
      return made;
    },
    merge: async (parts, { name, strategy }) => this.#put(idOf(name), name, { merge: { strategy, parts, error: 0.25 } }),
  };

  #put(id, name, metrics, profile = this.kept.get(id)?.profile ?? null) {
    if ([...this.kept.values()].some((one) => one.name === name && one.id !== id)) throw new AdapterExists(name);
    this.kept.set(id, { id, name, metrics, profile });
    return this.kept.get(id);
  }

  dispose = async () => {};
}

/** The test takes its steps: `step(loss)`, `validate(loss)`, `finish(reason)`, `fail(error)`. */
export class PlayedTrainer {
  constructor(session, run) {
    Object.assign(this, { session, run, id: run.id, name: run.name, state: run.state, kept: run });
    session.trainer = this;
  }

  train(data, { onEvent, signal }) {
    this.data = data;
    this.session.runs.set(this.id, this.run);
    return new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(new AbortError("stopped")));
      if (!this.session.slow) onEvent({ kind: "started", steps: this.run.steps, step: this.run.step, notices: [{ code: "texts_split", message: "one text was split" }] });
      Object.assign(this, { emit: onEvent, finish: (reason) => this.#end(reason, resolve), fail: reject });
      this.session.started?.(this);
    });
  }

  #end(reason, resolve) {
    const { step } = this.run;
    this.run.state = "done";
    this.emit({ kind: "done", reason, step });
    resolve({ reason, step, metrics: this.run.metrics });
  }

  step(loss) {
    this.run.step++;
    this.run.metrics.losses.push({ step: this.run.step, loss });
    this.emit({ kind: "step", step: this.run.step, loss, tokensPerSecond: 50, etaSeconds: 9 });
  }

  validate = (loss) => this.emit({ kind: "validation", step: this.run.step, loss, best: loss });
  pause = async () => this.emit({ kind: "paused" });
  resume = async () => this.emit({ kind: "resumed" });
  cancel = async () => this.finish("cancelled");
  discard = async () => void this.session.runs.delete(this.id);
  adapter = async () => ({ id: idOf(this.name), name: this.name, metrics: this.run.metrics, sample: [`about ${this.name}`] });
  evaluate = async (held, { adapter } = {}) => ({ bitsPerByte: adapter === null ? 2 : 1.5, held });
}
