/**
 * Runs extension kernels in a worker under a deadline. Runs in page, worker and Node (anything that can make a Worker).
 * A kernel that does not end, or traps, ends the worker and is reported by its named error; the next call finds a new worker, made from
 * the compiled modules kept here. It does not repeat the call that failed.
 */
import { Disposed, EpochDeadline, InvalidPack, KernelNotFound, WorkerDied } from "../sdk/errors.js";
import { connect } from "../workers/rpc.js";
import { limitMemory } from "./kernels/extension.js";
import { isTrap } from "./kernels/traps.js";

export const TICK_MS = 10; // as on servers: a budget of 1000 ticks is 10 s

export class KernelRunner {
  /** @type {Map<string, {module: WebAssembly.Module, deadlineMs: number}>} */
  #modules = new Map();
  /** @type {import("../workers/rpc.js").Connection | null} */
  #worker = null;
  #queue = Promise.resolve();
  #disposed = false;

  /**
   * @param {() => any} makeWorker gives a fresh kernel worker, e.g. `() => new Worker(url, {type: "module"})`
   * @param {{onEvent?: (event: {status: string, code: string, kernel: string, reason: string}) => void}} [options]
   */
  constructor(makeWorker, { onEvent = () => {} } = {}) {
    this.makeWorker = makeWorker;
    this.onEvent = onEvent;
    this.restarts = 0;
  }

  /** Compiles verified module bytes once and keeps them. Raises InvalidPack. @param {string} id @param {Uint8Array} data @param {{pages?: number, ticks?: number}} [limits] */
  async load(id, data, { pages = 256, ticks = 1000 } = {}) {
    const limited = limitMemory(data, pages);
    const module = await WebAssembly.compile(limited).catch((error) => {
      throw new InvalidPack(`The kernel "${id}" could not be compiled: ${error.message}.`, { kernel: id });
    });
    this.#modules.set(id, { module, deadlineMs: ticks * TICK_MS });
    this.#stop(); // the next call makes a worker that knows it
  }

  /** @returns {string[]} */
  get kernels() {
    return [...this.#modules.keys()];
  }

  /**
   * One call; calls wait for each other, so a deadline counts only its own kernel's time. Raises KernelNotFound, EpochDeadline, a trap's
   * error, WorkerDied, or the signal's reason (the worker is ended then, too). `deadlineMs` can only shorten the kernel's own limit.
   * @param {string} id @param {import("./kernels/extension.js").ExtCall} call @param {{signal?: AbortSignal, deadlineMs?: number}} [options]
   * @returns {Promise<{code: number, out: Uint8Array, scratch: Uint8Array}>}
   */
  run(id, call, { signal, deadlineMs } = {}) {
    const turn = this.#queue.then(() => this.#run(id, call, signal, deadlineMs));
    this.#queue = turn.then(() => {}, () => {});
    return turn;
  }

  async #run(id, call, signal, deadlineMs) {
    const entry = this.#modules.get(id);
    if (this.#disposed) throw new Disposed("The kernel runner was disposed; make a new one.");
    if (!entry) throw new KernelNotFound(`No extension kernel "${id}" is loaded. Loaded: ${this.kernels.join(", ") || "none"}.`, { kernel: id });
    signal?.throwIfAborted();
    const worker = await this.#start();
    signal?.throwIfAborted();
    const abort = () => this.#stop(signal.reason);
    const limit = Math.min(deadlineMs ?? Infinity, entry.deadlineMs);
    const timer = setTimeout(() => this.#stop(deadline(id, limit)), limit);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await worker.call("run", { id, call });
    } catch (error) {
      this.#report(id, error);
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  async #start() {
    if (this.#worker && !this.#worker.closed) return this.#worker;
    const worker = connect(this.makeWorker(), "kernel worker");
    this.#worker = worker;
    for (const [id, { module }] of this.#modules) await worker.call("load", { id, module });
    return worker;
  }

  /** A kernel that trapped may have left anything behind: its worker is ended, whatever state it is in. */
  #report(kernel, error) {
    if (!isTrap(error) && !(error instanceof WorkerDied)) return;
    this.#stop();
    this.restarts += 1;
    this.onEvent({ status: "kernel-stopped", code: error.code, kernel, reason: error.message });
  }

  #stop(reason) {
    this.#worker?.close(reason);
    this.#worker = null;
  }

  /** Ends the worker; calls that wait are rejected. */
  dispose() {
    this.#disposed = true;
    this.#stop(new Disposed("The kernel runner was disposed; make a new one."));
    this.#modules.clear();
  }
}

/** @param {string} id @param {number} ms */
const deadline = (id, ms) => new EpochDeadline(`The kernel "${id}" ran longer than ${ms} ms and was stopped. Its worker is started afresh.`, { kernel: id, ms });
