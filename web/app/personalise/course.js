/**
 * One course of training at a time: what is asked of the model before and after, the curve as it comes, pause, stop, going on after a reload.
 * Knows no DOM; runs in the page and in Node. What was learned is kept when it ends, however it ends.
 */
import { observable } from "../observable.js";
import { stopped } from "../ui/plain.js";
import { estimate, paceOf } from "./estimate.js";
import { trials } from "./material.js";
import { complete } from "./presets.js";

/** @typedef {import("./material.js").Trial & {before?: string, after?: string}} Sample */
/**
 * @typedef {object} Now
 * @property {"idle"|"starting"|"training"|"paused"|"stopping"|"closing"|"done"|"failed"} phase closing: it is kept and tried
 * @property {string | null} id of the training @property {string} name @property {any} progress of what is fetched or started before the first step; null: of nothing
 * @property {number} step @property {number} of
 * @property {[step: number, loss: number][]} train @property {[step: number, loss: number][]} validation nats a token
 * @property {number} tokensPerSecond @property {number} etaSeconds
 * @property {string[]} notices @property {Sample[]} samples
 * @property {{before: number, after: number} | null} bits per byte of what was held back
 * @property {string | null} reason why it ended: steps, patience, cancelled
 * @property {any} adapter what was kept @property {any} error
 */

/** @type {Now} */
export const FRESH = { phase: "idle", id: null, name: "", progress: null, step: 0, of: 0, train: [], validation: [], tokensPerSecond: 0, etaSeconds: 0, notices: [], samples: [], bits: null, reason: null, adapter: null, error: null };
export const BUSY = new Set(["starting", "training", "paused", "stopping", "closing"]);

const ABOUT = "personalise.course."; // settings rows: training's id → what was held back of it, and how the model was before
const PACE = "personalise.pace"; // settings row: model and arithmetic → tokens a second of the last course
const CORES = 8; // threads that an engine has at most
const ANSWER = { maxTokens: 48, temperature: 0 };

/** Kind of event → what it changes. @type {Record<string, (now: Now, event: any) => Partial<Now>>} */
const EVENTS = {
  started: ({ notices }, { steps, step, notices: more }) => ({ phase: "training", progress: null, of: steps, step, notices: [...notices, ...more.map(({ message }) => message)] }),
  step: ({ train }, { step, loss, tokensPerSecond, etaSeconds }) => ({ step, tokensPerSecond, etaSeconds, train: reached(train, step, loss) }),
  validation: ({ validation }, { step, loss }) => ({ validation: reached(validation, step, loss) }),
  paused: (now) => steered(now, "paused"),
  resumed: (now) => steered(now, "training"),
  notice: ({ notices }, { message }) => ({ notices: [...notices, message] }),
  done: (_now, { reason, step }) => ({ reason, step }),
};

/** What was asked for before a stop is told after it. */
const steered = ({ phase: now }, phase) => ({ phase: now === "stopping" ? now : phase });

/** A curve with one more point; a course that went back to a checkpoint draws over what came after it. */
const reached = (points, step, loss) => [...points.filter(([at]) => at < step), [step, loss]];
const pointsOf = (points = []) => points.map(({ step, loss }) => [step, loss]);

export class Course {
  /** @type {import("../observable.js").observable<Now>} */ now = observable(FRESH);
  /** Courses that an earlier visit did not finish. @type {import("../observable.js").observable<any[]>} */ unfinished = observable([]);
  #trainer = null;
  #controller = null;
  #hidden = new Set();

  /** @param {{language: import("../language/models.js").LanguageModels, shelf: import("./shelf.js").AdapterShelf, db: any}} parts `shelf`: where adapters are kept */
  constructor(parts) {
    this.cores = Math.min(CORES, globalThis.navigator?.hardwareConcurrency ?? 1);
    Object.assign(this, parts);
  }

  get busy() {
    return BUSY.has(this.now.value.phase);
  }

  /** What it would take; loads the model if need be. @param {any} config @param {import("./material.js").Material} material */
  async estimate(config, material) {
    const { learn } = material.split();
    const session = await this.language.ready();
    const { modelBytes, kvCacheBytes, arenaBytes = 0 } = session.getMemoryInfo();
    const { parameters, threads, isolated } = session.info;
    const more = isolated ? Math.max(1, this.cores / threads) : 1; // a step uses all threads, reading as many as were fastest for a single token
    const trained = (await this.db.read("settings", PACE))?.[this.#paceOf(config)];
    const text = textOf(learn);
    const sizes = { bytes: new TextEncoder().encode(text).length, model: modelBytes + kvCacheBytes + arenaBytes, parameters, threads: more, trained };
    return estimate(await paceOf(session, text), complete(config), sizes);
  }

  /** What a pace was measured for. @param {{dots: string}} config */
  #paceOf({ dots }) {
    return `${this.language.chosen.value?.key} ${dots}`;
  }

  /** @param {any} config @param {number} tokensPerSecond */
  async #pace(config, tokensPerSecond) {
    const known = await this.db.read("settings", PACE);
    await this.db.write([{ put: "settings", key: PACE, value: { ...known, [this.#paceOf(config)]: tokensPerSecond } }]);
  }

  /**
   * Learns. Resolves when it is over; `now` says how. @param {any} config of `configOf` @param {import("./material.js").Material} material
   * @param {{name: string, prompts?: string[]}} how `prompts`: of one's own, else lines of what is held back
   */
  start(config, material, { name, prompts = [] }) {
    return this.#run(name, async (session) => {
      const { learn, held } = material.split();
      const samples = prompts.length ? prompts.map((prompt) => ({ prompt, truth: "" })) : trials(held);
      return { trainer: session.createTrainer({ ...optionsOf(complete(config)), name }), data: learn, about: { held, samples, dots: config.dots } };
    });
  }

  /** Goes on with one that an earlier visit left. @param {any} left of `unfinished` */
  goOn(left) {
    return this.#run(left.name, (session) => this.#again(session, left.id));
  }

  /** Keeps what one has learned that shall learn no more. @param {{id: string, name: string, state?: string}} left of `unfinished`, or what `now` was when it failed */
  keep({ id, name, state }) {
    return this.#run(name, async (session) => {
      const opened = await this.#again(session, id);
      this.now.patch({ reason: state === "done" ? null : "cancelled" });
      return { ...opened, over: true };
    });
  }

  /** One that is kept, with its curve. @param {any} session @param {string} id */
  async #again(session, id) {
    const about = await this.db.read("settings", ABOUT + id);
    const trainer = await session.resumeTrainer(id);
    const { metrics, steps, step } = trainer.kept;
    this.now.patch({ of: steps, step, train: pointsOf(metrics.losses), validation: pointsOf(metrics.validations) });
    return { trainer, about: about ?? { held: [], samples: [] } };
  }

  /** @param {string} name @param {(session: any) => Promise<{trainer: any, data?: any, about: any, over?: boolean}>} open `over`: it learns no more */
  async #run(name, open) {
    if (this.busy) return;
    const { signal } = (this.#controller = new AbortController());
    this.now.set({ ...FRESH, phase: "starting", name });
    const onProgress = (progress) => this.now.patch({ progress });
    try {
      const session = await this.language.ready();
      const { trainer, data, about, over } = await open(session);
      this.now.patch({ id: trainer.id, samples: about.samples });
      await this.#measure(session, trainer, about, { signal, onProgress });
      if (over) signal.throwIfAborted(); // a trainer hears of it itself
      this.#trainer = trainer;
      if (!over) await trainer.train(data, { signal, onProgress, onEvent: (event) => this.#heard(event) });
      await (over || this.now.value.step ? this.#end(session, trainer, about) : this.#leave(trainer));
    } catch (error) {
      if (stopped(error) && this.#trainer && !this.now.value.step) await this.#discard(this.#trainer).catch(() => {}); // it may not have begun
      this.now.patch(stopped(error) ? { phase: "idle" } : { phase: "failed", error });
    } finally {
      this.#trainer = this.#controller = null;
      await this.look();
    }
  }

  #heard(event) {
    const change = EVENTS[event.kind]?.(this.now.value, event);
    if (change) this.now.patch(change);
  }

  /** How the model was before it learned; kept, for a page that is reloaded. */
  async #measure(session, trainer, about, options) {
    if (about.before !== undefined) return;
    await this.#try(session, "before", [], options.signal);
    about.samples = this.now.value.samples;
    about.before = about.held.length ? (await trainer.evaluate(about.held, { adapter: null, ...options })).bitsPerByte : null;
    await this.db.write([{ put: "settings", key: ABOUT + trainer.id, value: about }]);
  }

  /** What was learned is kept, tried, and the training's own copy given back. */
  async #end(session, trainer, { held, before, dots }) {
    this.now.patch({ phase: "closing" });
    const trained = await trainer.adapter();
    const bits = before === null ? null : { before, after: (await trainer.evaluate(held)).bitsPerByte };
    const same = this.shelf.get(trained.id)?.name; // equal texts and settings give the same adapter
    const adapter = await this.shelf.keep(trained, { bits });
    this.now.patch({ adapter, bits });
    if (same) this.#heard({ kind: "notice", message: `This does the same as \u201c${same}\u201d, to the last bit: they are one adapter, and it is called \u201c${adapter.name}\u201d.` });
    await this.#try(session, "after", [{ id: adapter.id, scale: 1 }]);
    await this.#discard(trainer);
    if (trained.metrics.tokensPerSecond > 0) await this.#pace({ dots }, trained.metrics.tokensPerSecond);
    this.now.patch({ phase: "done" });
  }

  /** Stopped before the first step: there is nothing to keep. */
  async #leave(trainer) {
    await this.#discard(trainer);
    this.now.set(FRESH);
  }

  async #discard(trainer) {
    await trainer.discard();
    await this.db.write([{ delete: "settings", key: ABOUT + trainer.id }]);
  }

  /** What the model makes of the prompts, with these adapters. */
  async #try(session, when, adapters, signal) {
    for (const [i, { prompt, asked }] of this.now.value.samples.entries()) {
      const input = asked && session.info.chat ? { messages: [{ role: "user", content: prompt }] } : { prompt }; // pairs are learned through the template
      const { text } = await session.complete(input, { ...ANSWER, adapters }, { signal });
      this.now.patch({ samples: this.now.value.samples.map((sample, k) => (k === i ? { ...sample, [when]: text } : sample)) });
    }
  }

  pause() {
    return this.#trainer?.pause();
  }

  resume() {
    return this.#trainer?.resume();
  }

  /** Ends it after the step under way; the best is kept. Before the first step there is nothing to keep. */
  async stop() {
    if (this.now.value.phase === "starting") return this.#controller?.abort();
    this.now.patch({ phase: "stopping" });
    await this.#trainer?.cancel();
  }

  /** Forgets one that an earlier visit left. @param {any} left */
  async forget(left) {
    try {
      await this.#discard({ id: left.id, discard: () => this.language.loader.discardTraining(left.id) }); // its model may be gone
    } finally {
      await this.hide(left.id, false);
    }
  }

  /** Out of the list of unfinished ones, or back in it. @param {string} id */
  hide(id, hidden = true) {
    this.#hidden[hidden ? "add" : "delete"](id);
    return this.look();
  }

  /** Looks for courses that were not finished. */
  async look() {
    const { session } = this.language;
    const all = session ? await session.trainers().catch(() => []) : [];
    this.unfinished.set(all.filter(({ id }) => !this.#hidden.has(id)));
  }

  /** Back to the form. */
  clear() {
    if (!this.busy) this.now.set(FRESH);
  }
}

const textOf = (examples) => examples.map((one) => (typeof one === "string" ? one : `${one.input}\n${one.output}`)).join("\n");

const SHAPE = ["r", "loraAlpha", "loraDropout", "targetModules"];
/** As the SDK takes them. @param {any} config */
const optionsOf = (config) => {
  const entries = Object.entries(config);
  return { lora: Object.fromEntries(entries.filter(([name]) => SHAPE.includes(name))), training: Object.fromEntries(entries.filter(([name]) => !SHAPE.includes(name))) };
};
