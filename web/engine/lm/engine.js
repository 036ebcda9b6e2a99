/**
 * Programs in engine memory over one set of weights, run row by row. It knows no text and no request. Runs in a worker and in Node.
 * A run is synchronous: it ends when all its rows are done, or at the next barrier once the abort word is set.
 */
import { KernelTrap, OutputNotFinite, WorkerDied } from "../../sdk/errors.js";
import { CODES, INVALID_INPUT, trapError } from "../kernels/traps.js";
import { ABORTED, CONTROL, END, STALLED, TRAPPED } from "./abi.js";
import { breather } from "./breath.js";
import { checkFace } from "./face.js";
import { jobsOf, pour } from "./load.js";
import { fasterThreads } from "./measure.js";
import { codeBytes, growTo, planMemory, sharedMemory } from "./memory.js";
import { instantiate, tableOf } from "./module.js";
import { SLOTS, cacheParts, validate } from "./program.js";
import { Programs } from "./programs.js";
import { HISTORY, WORDS } from "./sampling.js";

/** @typedef {import("./threads.js").Threads} Threads */

/** Looks at a barrier before a thread sleeps. Measured with a 0.5 B and a 7 M model on two busy cores: 200 beats 0 and 2000 a little, 20000 by far. */
const SPIN = 200;

/**
 * @typedef {object} Build @property {string} name @property {WebAssembly.Module} module @property {boolean} shared it imports a shared memory
 *
 * @typedef {object} OpenOptions
 * @property {any} program @property {Record<string, import("./load.js").Source>} sources @property {Build} build
 * @property {Threads | null} [team] extra threads, for a shared build; the engine's from now on, also when opening fails
 * @property {boolean} [fixed] all threads are used, unmeasured @property {() => void} [meanwhile] this thread's own work, done while the others load weights @property {(event: any) => void} [emit] progress @property {AbortSignal} [signal]
 */

export class LanguageEngine {
  /** How many threads take part in a run that generates: what was fastest with one row. */ threads = 1;
  /** How many there are: training has rows enough for all. */ all = 1;
  /** How many did not come in time. */ late = 0;

  /**
   * Plans, allocates, loads and starts. What fails leaves nothing behind.
   * @param {OpenOptions} options @returns {Promise<LanguageEngine>}
   * @throws ModelTooLarge, InvalidProgram, ModelInvalid, NotCached, the signal's reason
   */
  static async open({ program, sources, build, team = null, fixed, emit = () => {}, signal, meanwhile = () => {} }) {
    try {
      const table = tableOf(build.module);
      validate(program, table);
      checkFace(program);
      const most = 1 + (team?.count ?? 0);
      const { exports, memory } = await instantiate(build.module, build.shared ? sharedMemory() : undefined);
      const plan = planMemory(program, table, { base: exports.__heap_base.value, threads: most });
      growTo(memory, plan.end);
      const engine = new LanguageEngine({ program, build, exports, memory, plan, table, team });
      engine.#start();
      await engine.#pour(jobsOf(program, table, plan), sources, { emit, signal, meanwhile });
      const all = 1 + ((await team?.enter(engine.words)) ?? 0);
      engine.late = most - all;
      emit({ status: "progress", phase: "warmup", name: program.name, loaded: 1, total: 1, progress: 100 });
      engine.all = all;
      engine.threads = fixed ? all : fasterThreads(engine, all);
      return engine;
    } catch (error) {
      team?.close();
      throw error;
    }
  }

  /** @param {{program: any, build: Build, exports: any, memory: WebAssembly.Memory, plan: import("./memory.js").Plan, table: any, team: Threads | null}} parts */
  constructor({ program, build, exports, memory, plan, table, team }) {
    this.program = program;
    this.build = build;
    this.plan = plan;
    this.wasm = memory; // null once disposed
    this.exports = exports;
    this.capacity = program.capacity;
    this.programs = new Programs({ program, table, memory, plan });
    this.slots = SLOTS;
    this.caches = cacheParts(program, table);
    this.words = new Int32Array(memory.buffer, plan.control, CONTROL.bytes / 4);
    this.team = team;
  }

  /** Columns of the logits; 0 for an encoder. */
  get vocabulary() { return this.#shapeOf("logits")[1] ?? 0; }

  /** Width of the embedding; 0 for a decoder. */
  get dimensions() { return this.#shapeOf("embedding")[1] ?? 0; }

  #shapeOf(/** @type {string} */ name) { return this.program.buffers.find((/** @type {any} */ buffer) => buffer.name === name)?.shape ?? []; }

  /** What a page sets to 1 to end the run under way; where memory is shared. */
  get abortWord() { return this.wasm && this.build.shared ? new Int32Array(this.wasm.buffer, this.plan.control + 4 * CONTROL.abort, 1) : undefined; }

  /** The beginning of the Program, which is measured, and how long barriers spin. */
  #start() {
    const { control, program, probe } = this.plan;
    const part = beginning(new Uint32Array(this.wasm.buffer, program + 4, codeBytes(this.program) / 4 - 1));
    new Uint32Array(this.wasm.buffer, probe, part.length + 1).set([control, ...part]);
    this.words[CONTROL.spin] = SPIN;
  }

  /**
   * More Programs over the same weights, all or none; they share one state, zeros at first. Views from before are of no use afterwards.
   * @param {Record<string, any>} programs documents by name
   * @throws InvalidProgram; ProgramMismatch: not the loaded one's weights, another cache, states in other places; InvalidOption: a name that is taken; ModelTooLarge
   */
  async add(programs) {
    this.programs.add(programs);
    this.words = new Int32Array(this.wasm.buffer, this.plan.control, CONTROL.bytes / 4);
  }

  /** Frees added Programs. @param {string[]} names @throws {InvalidOption} */
  drop(names) {
    this.programs.drop(names);
  }

  /** All of a buffer, at the largest legal sizes; to be asked for anew after any `add`. @param {string} buffer @param {string} [program] @returns {any} */
  view(buffer, program) {
    return this.programs.view(buffer, program);
  }

  /** @param {import("./load.js").Job[]} jobs @param {Record<string, import("./load.js").Source>} sources @param {{emit: (event: any) => void, signal?: AbortSignal, meanwhile: () => void}} options */
  async #pour(jobs, sources, { emit, signal, meanwhile }) {
    const { staging, stagingBytes } = this.plan;
    const next = new Int32Array(this.build.shared ? new SharedArrayBuffer(4) : new ArrayBuffer(4));
    const total = jobs.reduce((sum, { bytes }) => sum + bytes, 0);
    let [loaded, seen] = [0, 0];
    const breath = breather();
    const say = (/** @type {number} */ to) => {
      while (seen < to) loaded += jobs[seen++].bytes;
      emit({ status: "progress", phase: "read", name: this.program.name, loaded, total, progress: (100 * loaded) / (total || 1) });
    };
    const listen = async (/** @type {number} */ taken) => {
      say(taken);
      await breath();
      signal?.throwIfAborted();
    };
    const shared = { jobs, sources, next };
    const { team, exports, wasm: memory } = this;
    const stop = (/** @type {Error} */ error) => {
      Atomics.store(next, 0, jobs.length); // nobody goes on for an engine that will not be
      throw error;
    };
    const started = team?.start({ module: this.build.module, memory, plan: this.plan });
    const helped = started?.then(() => team?.pour(shared));
    const own = async () => {
      await started;
      meanwhile();
      await pour(shared, { exports, memory, staging, stagingBytes }, listen);
    };
    await Promise.all([own(), helped].map((work) => work?.catch(stop)));
    new Uint8Array(memory.buffer, staging, 2 * stagingBytes * (this.plan.stacks.length + 1)).fill(0); // arena and cache begin as they were given
    say(jobs.length);
  }

  /**
   * One run of at most `capacity.rows` rows. @param {import("./scheduler.js").Batch} batch @param {string} [program] an added one with the loaded one's buffers
   * @returns {Int32Array | null} the token picked for each wanted row; null: aborted, nothing of it counts
   * @throws an error of the engine, after which it must be disposed
   */
  run(batch, program) {
    const { views, code } = this.programs.of(program);
    this.#write(batch, views);
    const { length } = batch.wanted;
    if (!this.execute(code, this.threads, { n: batch.tokens.length, m: length, s: batch.pages.length })) return null;
    return /** @type {Int32Array} */ (views.picked.slice(0, length));
  }

  /**
   * One run of a Program whose inputs were written. @param {string | undefined} program @param {Record<string, number>} slots
   * @returns {boolean} false: aborted; its states are as they were before
   * @throws InvalidOption; KernelTrap with `returned`: a kernel refused what it read; else an error of the engine, after which it must be disposed
   */
  step(program, slots) {
    const held = this.programs.sized(program, slots);
    const states = this.programs.states(held);
    const before = this.build.shared ? states.slice() : null; // nobody else can abort
    const code = this.#outcome(held.code, this.all, held.sizes);
    if (code === 0) return true;
    if (before) states.set(before);
    if (code === ABORTED) return false;
    throw code === STALLED || code === TRAPPED ? this.#failure(code) : this.#refused(code);
  }

  /**
   * Rows of whole texts through an encoder. @param {{tokens: number[], positions: number[], sequences: number[]}} batch @param {number} count texts
   * @returns {Float32Array | null} count x dimensions; null: aborted
   */
  embed(batch, count) {
    const { views } = this.programs.of();
    for (const name of /** @type {const} */ (["tokens", "positions", "sequences"])) views[name].set(batch[name]);
    if (!this.execute(this.plan.program, this.threads, { n: batch.tokens.length, m: 0, s: count })) return null;
    const vectors = /** @type {Float32Array} */ (views.embedding.slice(0, count * this.dimensions));
    if (!vectors.every(Number.isFinite)) throw this.#notFinite();
    return vectors;
  }

  /** Logits of the last run's wanted rows, a copy. @param {number} rows @param {string} [program] @returns {Float32Array} rows x vocabulary */
  logits(rows, program) {
    return /** @type {Float32Array} */ (this.view("logits", program).slice(0, rows * this.vocabulary));
  }

  /** @param {import("./scheduler.js").Batch} batch @param {Record<string, any>} views */
  #write({ tokens, positions, sequences, wanted, pages, sampling }, views) {
    const { context, page } = this.capacity;
    views.tokens.set(tokens);
    views.positions.set(positions);
    views.sequences.set(sequences);
    views.wanted.set(wanted);
    pages.forEach((list, i) => views.pages.set(list, i * (context / page)));
    sampling.forEach(({ words, history }, i) => {
      views.sampling.set(words, i * WORDS);
      views.history.set(history, i * HISTORY);
    });
  }

  /**
   * Runs a lowered Program. @param {number} program address @param {number} threads @param {Record<string, number>} sizes by slot
   * @returns {boolean} false: the abort word ended it
   */
  execute(program, threads, sizes) {
    const code = this.#outcome(program, threads, sizes);
    if (code !== 0 && code !== ABORTED) throw this.#failure(code);
    return code === 0;
  }

  /** What the run answered. @param {number} program address @param {number} threads @param {Record<string, number>} sizes by slot @returns {number} */
  #outcome(program, threads, sizes) {
    this.slots.forEach((name, i) => { this.words[CONTROL.slots + i] = sizes[name]; });
    const code = this.#call(program, threads);
    if (code === ABORTED) Atomics.store(this.words, CONTROL.abort, 0);
    return code;
  }

  /** @param {number} program @param {number} threads @returns {number} */
  #call(program, threads) {
    try {
      return this.exports.run(program, 0, threads);
    } catch (error) {
      throw trapError(error, `The engine build ${this.build.name}`);
    }
  }

  /** @param {number} code @returns {Error} */
  #failure(code) {
    const { name } = this.build;
    if (code === INVALID_INPUT) return this.#notFinite(); // indices were checked by the host: what is left are logits
    if (code !== STALLED && code !== TRAPPED) return this.#refused(code);
    return this.team?.death ?? new WorkerDied(`A thread of the engine build ${name} ${code === TRAPPED ? "was stopped by a trap" : "did not come"}.`, { build: name, code });
  }

  /** @param {number} code */
  #refused(code) {
    const { name } = this.build;
    return new KernelTrap(`A kernel of the engine build ${name} returned ${code} (${CODES[code] ?? "unknown"}). Check token ids, positions and sizes.`, { build: name, returned: code });
  }

  #notFinite() {
    return new OutputNotFinite(`${this.program.name} gave numbers that are not finite on the engine build ${this.build.name}. Its weights are damaged, or this build is wrong on this machine.`, { build: this.build.name });
  }

  /** All layers of one KV page to another. @param {number} from @param {number} to */
  copyPage(from, to) {
    const bytes = new Uint8Array(this.wasm.buffer, this.plan.regions.kv, this.program.regions.kv);
    for (const { offset, page } of this.caches) bytes.copyWithin(offset + to * page, offset + from * page, offset + (from + 1) * page);
  }

  /** Bytes. */
  memory() {
    const { weights, kv, arena } = this.plan.bytes;
    return { modelBytes: weights, kvCacheBytes: kv, arenaBytes: arena + this.programs.heap.bytes, wasmBytes: this.wasm?.buffer.byteLength ?? 0 };
  }

  /** Ends the threads and lets go of the memory; whoever still holds this object holds no weights. */
  dispose() {
    this.team?.close();
    this.programs.clear();
    Object.assign(this, { exports: null, wasm: null, words: null });
  }
}

/** The first two layers or so of a Program: up to its twelfth barrier. @param {Uint32Array} records */
function beginning(records) {
  let at = 0;
  for (let barriers = 0; records[at] !== END && barriers < 12; at += 3 + (records[at] >>> 16)) barriers += records[at + 1];
  return Uint32Array.from([...records.subarray(0, at), END]);
}
