/**
 * ScopedLoRA: one MicroLoRA for each of 17 query operators and for each of their 7 categories. Runs in page, worker and Node.
 * A scope with n < 10 adaptations leans on its category: y = x + w * own delta + (1 - w) * category's, w = n / 10. Twin of `learn/scoped.py`.
 */
import { BackupInvalid, Disposed, UnknownScope } from "../../sdk/errors.js";
import { raise, wrongVector } from "./checks.js";
import { theHost } from "./host.js";
import { MicroLoRA, checkNumbers } from "./microlora.js";
import { copyOf } from "./results.js";

const FORMAT = "edgenet-scopedlora";
const WARM = 10; // adaptations after which a scope stands alone

/** Operator number → name, category. @type {readonly (readonly [string, string])[]} */
export const SCOPES = Object.freeze([
  ["SeqScan", "Scan"], ["IndexScan", "Scan"], ["HnswScan", "Scan"], ["IvfFlatScan", "Scan"],
  ["NestedLoopJoin", "Join"], ["HashJoin", "Join"], ["MergeJoin", "Join"],
  ["Aggregate", "Aggregation"], ["GroupBy", "Aggregation"],
  ["Filter", "Transform"], ["Project", "Transform"],
  ["Sort", "Order"], ["Limit", "Order"],
  ["VectorDistance", "Vector"], ["Rerank", "Vector"],
  ["Materialize", "Utility"], ["Result", "Utility"],
]);
export const CATEGORIES = Object.freeze([...new Set(SCOPES.map(([, category]) => category))]);

/** Raises UnknownScope. @param {any} op_type @returns {number} */
export function scope(op_type) {
  return Number.isInteger(op_type) && op_type >= 0 && op_type < SCOPES.length ? op_type : unknownScope(op_type);
}

/** @param {any} op_type @returns {never} */
function unknownScope(op_type) {
  throw new UnknownScope(`An operator is a number from 0 to ${SCOPES.length - 1}, found ${String(op_type)}`, { found: String(op_type) });
}

const FREED = new Float32Array(0);

export class ScopedLoRA {
  in = FREED; // dim: the input of `forward`
  out = FREED; // dim: its output
  /** @type {number[]} byte offset of each scope's argument block for the blend */
  _blocks = [];
  _weightAt = 0; // byte offset of the weight in such a block

  /** @param {number} [dim] @param {number} [alpha] @param {number} [learning_rate] @param {any} [options] those of MicroLoRA */
  constructor(dim = 256, alpha = 0.1, learning_rate = 0.01, options = {}) {
    this.host = theHost(options.host);
    const make = () => new MicroLoRA(dim, alpha, learning_rate, options);
    this._scopes = SCOPES.map(make);
    this._categories = new Map(CATEGORIES.map((name) => [name, make()]));
    this._dim = this._scopes[0].dim();
    this._io = this.host.alloc(8 * this._dim);
    this._blend = this.host.ops.microlora_blend;
    this.#makeBlocks();
    this._fallback = true;
    this._view();
  }

  /** One argument block per scope for the blend with its category. */
  #makeBlocks() {
    this._blocks.forEach((block) => this.host.free(block));
    this._blocks = this._scopes.map((own, n) => {
      const group = this.#category(n);
      return this.host.block("microlora_blend", { ...own._at, ca: group._at.a, cb: group._at.b, d: this._dim, r: own.rank, scale: own.alpha, weight: 0 });
    });
    this._weightAt = this.host.offsetOf("microlora_blend", "weight");
  }

  _view() {
    if (!this._io) throw new Disposed("This adapter was freed; make a new one.");
    this.in = new Float32Array(this.host.memory.buffer, this._io, this._dim);
    this.out = new Float32Array(this.host.memory.buffer, this._io + 4 * this._dim, this._dim);
  }

  /** @param {number} n @returns {MicroLoRA} */
  #category(n) {
    return /** @type {MicroLoRA} */ (this._categories.get(SCOPES[n][1]));
  }

  /** The operator's name, e.g. 2 → "HnswScan". Raises UnknownScope. @param {number} op_type */
  static scope_name(op_type) {
    return SCOPES[scope(op_type)][0];
  }

  /** The category's name, e.g. 2 → "Scan". Raises UnknownScope. @param {number} op_type */
  static category_name(op_type) {
    return SCOPES[scope(op_type)][1];
  }

  /** Whether a scope with fewer than 10 adaptations leans on its category (it does by default). @param {boolean} enabled */
  set_category_fallback(enabled) {
    this._fallback = Boolean(enabled);
  }

  /** y of this scope. Raises UnknownScope, WrongLength, NotFinite, OutputNotFinite. @param {number} op_type @param {ArrayLike<number>} input @returns {Float32Array} */
  forward_array(op_type, input) {
    const own = this._scopes[scope(op_type)];
    if (own.x.length === 0) own._view();
    if (input?.length !== this._dim) wrongVector(input, this._dim, "input");
    own.x.set(input);
    this.#forward(op_type, own);
    return copyOf(own.y);
  }

  /** From `get_input_ptr()` to `get_output_ptr()` for this scope. Raises as `forward_array`. @param {number} op_type */
  forward(op_type) {
    const own = this._scopes[scope(op_type)];
    if (own.x.length === 0) own._view();
    if (this.in.length === 0) this._view();
    own.x.set(this.in);
    this.#forward(op_type, own);
    this.out.set(own.y);
  }

  /** @param {number} n @param {MicroLoRA} own */
  #forward(n, own) {
    if (!this._fallback || own._adapts >= WARM) {
      own.forward();
      return;
    }
    const code = this._blend(this._blocks[n], 0, 1);
    if (code) raise(code, "microlora_blend");
    own._forwards++;
  }

  get_input_ptr() {
    return this._io;
  }

  get_output_ptr() {
    return this._io + 4 * this._dim;
  }

  /** One step of the scope and of its category for gradient = dL/dy at the scope's last input, or at `input`. @param {number} op_type @param {ArrayLike<number>} gradient @param {ArrayLike<number>} [input] */
  adapt_array(op_type, gradient, input) {
    this.#both(op_type, (adapter, x) => adapter.adapt_array(gradient, x), input);
  }

  /** As `MicroLoRA.adapt_with_reward` for the scope and its category, each by what it adds itself unless `direction` is given. @param {number} op_type @param {number} improvement @param {ArrayLike<number>} [direction] @param {ArrayLike<number>} [input] */
  adapt_with_reward(op_type, improvement, direction, input) {
    this.#both(op_type, (adapter, x) => adapter.adapt_with_reward(improvement, direction, x), input);
  }

  /** Steps the scope, then its category at the same input; if the category's step fails, the scope's is taken back. */
  #both(op_type, step, input) {
    const n = scope(op_type);
    const [own, group] = [this._scopes[n], this.#category(n)];
    if (own.x.length === 0) own._view();
    const [a, b, count] = [own.a.slice(), own.b.slice(), own._adapts];
    step(own, input);
    try {
      step(group, own.x);
    } catch (error) {
      own.a.set(a);
      own.b.set(b);
      own._adapts = count;
      throw error;
    }
    new DataView(this.host.memory.buffer).setFloat32(this._blocks[n] + this._weightAt, Math.min(own._adapts / WARM, 1), true);
  }

  /** @param {number} op_type */
  adapt_count(op_type) {
    return this._scopes[scope(op_type)].adapt_count();
  }

  /** @param {number} op_type */
  forward_count(op_type) {
    return this._scopes[scope(op_type)].forward_count();
  }

  /** Steps of all 17 scopes; the categories' own are not counted. */
  total_adapt_count() {
    return this._scopes.reduce((sum, own) => sum + own.adapt_count(), 0);
  }

  total_forward_count() {
    return this._scopes.reduce((sum, own) => sum + own.forward_count(), 0);
  }

  /** Norm of one scope's own change. @param {number} op_type */
  delta_norm(op_type) {
    return this._scopes[scope(op_type)].delta_norm();
  }

  /** One scope back to its start; its category stays. @param {number} op_type */
  reset_scope(op_type) {
    this._scopes[scope(op_type)].reset();
    this.#setWeights();
  }

  /** All scopes and categories back to their start. */
  reset_all() {
    [...this._scopes, ...this._categories.values()].forEach((adapter) => adapter.reset());
    this.#setWeights();
  }

  reset() {
    this.reset_all();
  }

  #setWeights() {
    const memory = new DataView(this.host.memory.buffer);
    this._scopes.forEach((own, n) => memory.setFloat32(this._blocks[n] + this._weightAt, Math.min(own._adapts / WARM, 1), true));
  }

  /** Everything as JSON data; Python's `import_state` reads it too. */
  export_state() {
    return {
      format: FORMAT, version: 1, category_fallback: this._fallback, scopes: this._scopes.map((own) => own.export_state()),
      categories: Object.fromEntries([...this._categories].map(([name, group]) => [name, group.export_state()])),
    };
  }

  /** Take over an exported state of the same dim and rank. Raises BackupInvalid; then nothing changed. @param {any} state */
  import_state(state) {
    const parts = this.#parts(state);
    for (const [adapter, content] of parts) {
      adapter._matrices(content);
      checkNumbers(content);
    }
    for (const [adapter, content] of parts) adapter.import_state(content);
    this._fallback = state.category_fallback;
    this.#makeBlocks();
    this.#setWeights();
  }

  /** @param {any} state @returns {[MicroLoRA, any][]} */
  #parts(state) {
    const whole = state?.format === FORMAT && state.version === 1 && typeof state.category_fallback === "boolean"
      && state.scopes?.length === SCOPES.length && CATEGORIES.every((name) => Object.hasOwn(state.categories ?? {}, name));
    if (!whole) throw new BackupInvalid(`This is no exported scoped adapter: expected format "${FORMAT}" version 1 with 17 scopes and 7 categories. Nothing was changed.`);
    const pair = (/** @type {MicroLoRA} */ adapter, /** @type {any} */ content) => /** @type {[MicroLoRA, any]} */ ([adapter, content]);
    return [...this._scopes.map((own, n) => pair(own, state.scopes[n])), ...[...this._categories].map(([name, group]) => pair(group, state.categories[name]))];
  }

  /** Give the memory of all adapters back. */
  free() {
    if (!this._io) return;
    [...this._scopes, ...this._categories.values()].forEach((adapter) => adapter.free());
    [...this._blocks, this._io].forEach((at) => this.host.free(at));
    this._io = 0;
    this.in = this.out = FREED;
  }
}
