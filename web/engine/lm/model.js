/**
 * A language model in this worker: its files, an engine on the best build that works, its pages and its scheduler. A build that traps, loses a
 * thread or gives NaN makes room for the next one, and says so; what was under way goes on there.
 */
import { HealthCheckFailed, KernelError, ModelInvalid, NotCached, OutputNotFinite, WorkerDied } from "../../sdk/errors.js";
import { holdUse } from "../../loader/locks.js";
import { modelKey, openArtifact, readKey } from "../../loader/store.js";
import { MAX_THREADS } from "./abi.js";
import { Adapters } from "./adapters.js";
import { breather } from "./breath.js";
import { engineBuilds } from "./builds.js";
import { LanguageEngine } from "./engine.js";
import { Pages } from "./pages.js";
import { Scheduler } from "./scheduler.js";
import { Threads } from "./threads.js";

const DESCRIBED = /** @type {const} */ (["program", "tokenizer", "generation"]);
/** What another build may do better; everything else is the model's or the caller's. */
const OF_THE_BUILD = [HealthCheckFailed, KernelError, OutputNotFinite, WorkerDied];

/**
 * @typedef {object} Files
 * @property {any} program @property {any} tokenizer @property {any} generation parsed JSON; `tokenizer`, the largest, each time it is asked for @property {Record<string, import("./load.js").Source>} sources of weights by artifact
 * @property {string} hash of the weights @property {() => Promise<import("./adapted-engine.js").Adapted | null>} adapted what the engine needs to take adapters, where it was published @property {() => void} release lets go of what is in the store
 */

/** @param {any} args of `lm.load` @returns {Promise<Files>} @throws {NotCached | ModelInvalid} */
export async function openFiles({ id, version, files, program: given, tokenizer, generation }) {
  if (files) {
    const sources = Object.fromEntries(Object.entries(files).map(([name, blob]) => [name, { blob }]));
    return { program: given, tokenizer, generation, sources, hash: crypto.randomUUID(), adapted: async () => null, release() {} };
  }
  const record = await readKey(modelKey(id, version));
  if (!record) throw new NotCached(`${id} ${version} is not in this browser's storage. Pull the model first.`, { id, version });
  const { artifacts } = record.manifest;
  const release = await holdUse(Object.values(artifacts).map(({ merkleRoot }) => merkleRoot));
  try {
    const [a, b, c] = await Promise.all(DESCRIBED.map((name) => document(id, name, artifacts[name])));
    const program = a();
    const sources = Object.fromEntries(Object.entries(artifacts).map(([name, { merkleRoot }]) => [name, { root: merkleRoot }]));
    const adapted = async () => (artifacts.adapted ? (await document(id, "adapted", artifacts.adapted))() : null);
    return { program, get tokenizer() { return b(); }, generation: c(), sources: onlyWeights(sources, program), hash: artifacts.model.merkleRoot, adapted, release };
  } catch (error) {
    release();
    throw error;
  }
}

/** Reads it; what is answered parses it. @param {string} id @param {string} name @param {any} artifact */
async function document(id, name, artifact) {
  if (!artifact) throw new ModelInvalid(`${id} has no artifact "${name}". It was published for another engine: ask its publisher.`, { id, artifact: name });
  const bytes = await (await openArtifact(artifact.merkleRoot)).readAll();
  return () => {
    try {
      return JSON.parse(new TextDecoder().decode(bytes));
    } catch (error) {
      throw new ModelInvalid(`The artifact "${name}" of ${id} is no JSON (${/** @type {Error} */ (error).message}). Ask its publisher.`, { id, artifact: name });
    }
  };
}

/** @param {Record<string, any>} sources @param {any} program */
function onlyWeights(sources, { weights }) {
  const used = new Set(Array.isArray(weights) ? weights.map(({ artifact }) => artifact) : []);
  return Object.fromEntries(Object.entries(sources).filter(([name]) => used.has(name)));
}

/**
 * @typedef {object} Setting
 * @property {Files} files @property {{kernels: string, trust: string, revocations: string, thread: string}} urls @property {number} [threads] exactly so many; measured when absent
 * @property {string[]} [without] builds not to be tried @property {(event: any) => void} emit @property {AbortSignal} [signal] @property {() => void} [lost] the last build broke while it ran
 * @property {() => void} [meanwhile] see `LanguageEngine.open`; once for each build that is tried
 */

export class Model {
  breath = breather();
  /** @type {Scheduler | null} absent for an encoder */ scheduler = null;
  /** @type {{code: string, reason: string}[]} */ why = [];
  /** @type {Promise<any> | null} */ #recovery = null;

  /** @param {Setting} setting @returns {Promise<Model>} @throws what the last build failed with */
  static async open(setting) {
    const offers = await engineBuilds(setting.urls, setting);
    const model = new Model(setting, offers);
    model.engine = await model.#next();
    await model.adapters.renew(model.engine);
    if (model.engine.vocabulary) model.scheduler = new Scheduler({ ...model.#parts(), breath: model.breath, recover: (error) => model.recover(error) });
    return model;
  }

  /** @param {Setting} setting @param {import("./builds.js").Offer[]} offers */
  constructor(setting, offers) {
    this.setting = setting;
    this.offers = offers;
    this.adapters = new Adapters(() => setting.files.adapted());
    /** @type {LanguageEngine} */ this.engine = /** @type {any} */ (null);
  }

  #parts() {
    const { engine, engine: { capacity }, adapters } = this;
    this.pages = new Pages({ pages: capacity.pages, page: capacity.page, copy: (from, to) => engine.copyPage(from, to) });
    return { engine: adapters.engine, pages: this.pages };
  }

  /** An engine on the first build that works; those that do not are given up. @returns {Promise<LanguageEngine>} */
  async #next() {
    for (;;) {
      const offer = this.offers[0];
      try {
        return await this.#open(offer);
      } catch (error) {
        this.#giveUp(error);
      }
    }
  }

  /** @param {import("./builds.js").Offer} offer */
  async #open(offer) {
    const { files: { program, sources }, urls, threads, emit, signal, meanwhile } = this.setting;
    emit({ status: "notice", code: "engine_build", reason: `The engine build ${offer.name} is started.`, build: offer.name });
    const cores = globalThis.navigator?.hardwareConcurrency ?? 1;
    const most = Math.min(threads ?? cores, MAX_THREADS);
    const team = offer.shared && most > 1 ? new Threads(urls.thread ?? new URL("lm-thread.js", globalThis.location?.href), most - 1) : null;
    const engine = await LanguageEngine.open({ program, sources, build: await offer.open().catch((error) => { team?.close(); throw error; }), team, fixed: threads !== undefined, emit, signal, meanwhile });
    this.#explain(offer, engine, cores);
    return engine;
  }

  /** @param {import("./builds.js").Offer} offer @param {LanguageEngine} engine @param {number} cores */
  #explain({ shared, name }, { threads, late }, cores) {
    /** @type {[boolean, string, string][]} */
    const rows = [
      [!shared, "one_thread", globalThis.crossOriginIsolated ? "The engine builds with threads did not work here; one thread is used." : "The page is not cross-origin isolated, so memory cannot be shared; one thread is used."],
      [late > 0, "threads_late", `${late} threads did not come in time, other programs use the cores; ${threads} ${threads > 1 ? "are" : "is"} used.`],
      [shared && !late && threads === 1 && cores > 1 && this.setting.threads === undefined, "threads_slower", "Measured at the start: more threads were not faster, other programs use the cores; one thread is used."],
      [!name.startsWith("relaxed"), "no_relaxed_simd", "The build with plain SIMD is used, which is slower."],
    ];
    this.why = [...this.why.filter(({ code }) => code === "engine_build_failed"), ...rows.filter(([holds]) => holds).map(([, code, reason]) => ({ code, reason }))];
    for (const { code, reason } of this.why) this.setting.emit({ status: "fallback", code, reason });
  }

  /** @param {any} error */
  #giveUp(error) {
    const [broken, next] = this.offers;
    if (!next || !OF_THE_BUILD.some((Class) => error instanceof Class)) throw error;
    this.offers.shift();
    this.why.push({ code: "engine_build_failed", reason: `The engine build ${broken.name} failed (${error.message}); ${next.name} is used.` });
  }

  /**
   * Goes on with the next build; who finds the engine broken meanwhile waits for the same one. An instance that trapped, or was disposed, and has no successor is of no use: `lost` is told. @param {Error} error what this one failed with @returns {Promise<any>}
   * @throws it, when it is not the build's fault or none is left
   */
  recover(error) {
    return (this.#recovery ??= this.adapters.alone(() => this.#replace(error)).finally(() => { this.#recovery = null; }));
  }

  /** @param {Error} error */
  async #replace(error) {
    try {
      this.#giveUp(error);
      this.engine.dispose();
      this.engine = await this.#next();
      await this.adapters.renew(this.engine);
      this.setting.emit({ status: "recovered", abort: this.engine.abortWord });
      const parts = this.#parts();
      this.scheduler?.renew(parts); // also where somebody else's run, of training, broke the engine
      return parts;
    } catch (last) {
      if (last instanceof KernelError || last instanceof WorkerDied || !this.engine.wasm) this.setting.lost?.();
      throw last;
    }
  }

  memory() {
    return { ...this.engine.memory(), pages: this.pages?.figures ?? { total: 0, used: 0, shared: 0 } };
  }

  dispose() {
    this.scheduler?.close();
    this.engine.dispose();
    this.setting.files.release();
  }
}
