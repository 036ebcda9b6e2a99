/**
 * TrajectoryBuffer: what was tried, how long it took, and statistics over it. Runs in page, worker and Node. Twin of `learn/trajectory.py`.
 * improvement = baseline / execution - 1; quality = (improvement + 1) / 2 within 0..1, so 0.5 means as fast as the baseline.
 */
import { Disposed } from "../../sdk/errors.js";
import { INVALID_INPUT } from "../kernels/traps.js";
import { integer, number, raise, wrongVector } from "./checks.js";
import { theHost } from "./host.js";
import { scope } from "./scoped.js";

/** @param {number} execution_ms @param {number} baseline_ms 0 when nothing was measured */
export const improvement = (execution_ms, baseline_ms) => (execution_ms > 0 ? baseline_ms / execution_ms - 1 : 0);
/** @param {number} gain */
export const quality = (gain) => Math.min(Math.max((gain + 1) / 2, 0), 1);

const FREED = new Float32Array(0);

export class TrajectoryBuffer {
  ring = FREED; // slots x dim, in the host's memory
  pointer = new Uint32Array(0); // the first word of the finite check's argument block: where it looks
  _total = 0;
  _successes = 0;
  _mean = 0; // of the improvement
  _m2 = 0; // sum of its squared deviations
  _best = -Infinity;
  _bestAttention = 0;
  _next = 0; // the slot that is written next

  /** @param {number} [capacity] @param {number} [embedding_dim] @param {{host?: import("../kernels/host.js").KernelHost}} [options] */
  constructor(capacity = 1000, embedding_dim = 256, { host } = {}) {
    this.capacity = integer(capacity, "capacity", 1, 1 << 20);
    this._dim = integer(embedding_dim, "embedding_dim", 1, 1 << 16);
    this.host = theHost(host);
    // One slot more than the capacity: a record is copied into the free one and judged there, so a refused one overwrites nothing.
    this._slots = this.capacity + 1;
    this._base = this.host.alloc(4 * this._slots * this._dim);
    this._block = this.host.block("all_finite", { x: this._base, n: this._dim });
    this._finite = this.host.ops.all_finite;
    this._gains = new Float64Array(this._slots);
    this._operators = new Uint8Array(this._slots);
    this._view();
    this.reset();
  }

  _view() {
    if (!this._base) throw new Disposed("This buffer was freed; make a new one.");
    this.ring = new Float32Array(this.host.memory.buffer, this._base, this._slots * this._dim);
    this.pointer = new Uint32Array(this.host.memory.buffer, this._block, 1);
  }

  /** Forget all records and statistics. */
  reset() {
    this._total = this._successes = this._mean = this._m2 = this._bestAttention = this._next = 0;
    this._best = -Infinity;
  }

  /**
   * Keep one trial; the oldest goes when the ring is full. Times in milliseconds, >= 0.
   * Raises UnknownScope, WrongLength, NotFinite, InvalidOption (attention outside 0..255, negative time); then nothing was kept.
   * @param {ArrayLike<number>} embedding @param {number} op_type @param {number} attention_type @param {number} execution_ms @param {number} baseline_ms
   */
  record(embedding, op_type, attention_type, execution_ms, baseline_ms) {
    if (this.ring.length === 0) this._view();
    if (embedding?.length !== this._dim) wrongVector(embedding, this._dim, "embedding");
    const operator = scope(op_type);
    integer(attention_type, "attention_type", 0, 255);
    number(execution_ms, "execution_ms", 0);
    number(baseline_ms, "baseline_ms", 0);
    const slot = this._next;
    this.ring.set(embedding, slot * this._dim);
    this.pointer[0] = this._base + 4 * slot * this._dim;
    if (this._finite(this._block, 0, 1)) raise(INVALID_INPUT, "all_finite");
    this._next = slot + 1 === this._slots ? 0 : slot + 1;
    this._operators[slot] = operator;
    this._gains[slot] = improvement(execution_ms, baseline_ms);
    this.#count(this._gains[slot], attention_type);
  }

  /** Welford 1962: mean and squared deviations in one pass, without cancellation. @param {number} gain @param {number} attention */
  #count(gain, attention) {
    this._total++;
    if (gain > 0) this._successes++;
    const before = gain - this._mean;
    this._mean += before / this._total;
    this._m2 += before * (gain - this._mean);
    if (gain > this._best) {
      this._best = gain;
      this._bestAttention = attention;
    }
  }

  /** Share of records that beat their baseline; 0 when there are none. */
  success_rate() {
    return this._total ? this._successes / this._total : 0;
  }

  /** The largest improvement ever, also when it is negative; -Infinity when there are no records. */
  best_improvement() {
    return this._best;
  }

  /** Mean improvement over all records ever; 0 when there are none. */
  mean_improvement() {
    return this._mean;
  }

  /** Sample variance (n - 1) of the improvement; 0 for fewer than two records. */
  variance() {
    return this._total > 1 ? this._m2 / (this._total - 1) : 0;
  }

  /** The attention kind of the best record; 0 when there are none. */
  best_attention() {
    return this._bestAttention;
  }

  /** Held records whose quality is above `threshold` (0.5: faster than the baseline; 0.75: 50 % better). @param {number} threshold */
  high_quality_count(threshold) {
    number(threshold, "threshold");
    return this.#held().filter((slot) => quality(this._gains[slot]) > threshold).length;
  }

  /** Held records of one operator. Raises UnknownScope. @param {number} op_type */
  count_by_operator(op_type) {
    const operator = scope(op_type);
    return this.#held().filter((slot) => this._operators[slot] === operator).length;
  }

  /** The direction a held record teaches: its embedding, negated when it was no success. 0 is the oldest held. @param {number} index */
  gradient(index) {
    if (this.ring.length === 0) this._view();
    const slot = this.#held()[integer(index, "index", 0, this.len() - 1)];
    const sign = this._gains[slot] > 0 ? 1 : -1;
    return this.ring.slice(slot * this._dim, (slot + 1) * this._dim).map((v) => sign * v);
  }

  /** Slots in use, oldest first. */
  #held() {
    return Array.from({ length: this.len() }, (_, i) => (this._next - this.len() + i + this._slots) % this._slots);
  }

  /** Records ever made. */
  total_count() {
    return this._total;
  }

  /** Records held. */
  len() {
    return Math.min(this._total, this.capacity);
  }

  is_empty() {
    return this._total === 0;
  }

  /** Give the memory back; the buffer is not used afterwards. */
  free() {
    if (!this._base) return;
    this.host.free(this._base);
    this.host.free(this._block);
    this._base = 0;
    this.ring = FREED;
  }
}
