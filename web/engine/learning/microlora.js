/**
 * MicroLoRA: y = x + alpha * (x A) B, adapted by single gradient steps (Hu et al. 2021). Runs in page, worker and Node.
 * Twin of `pysrc/edgenet/learn/microlora.py`; names follow the learning-wasm API. All arrays live in the host's memory.
 */
import { BackupInvalid, Disposed, InvalidOption } from "../../sdk/errors.js";
import { fromBase64, toBase64 } from "../../trust/bytes.js";
import { integer, number, raise, wrongVector } from "./checks.js";
import { theHost } from "./host.js";
import { copyOf } from "./results.js";

const FORMAT = "edgenet-microlora";
const MAX_DIM = 1 << 16;
export const MAX_RANK = 16;
const REWARD_MIN = -1;
const REWARD_MAX = 2;

/** A's start: uniform with variance 1/dim from xorshift32 (Marsaglia 2003), the same numbers in Python. @param {Float32Array} a @param {number} dim @param {number} seed */
function fillInitial(a, dim, seed) {
  let state = (Math.imul(seed, 2654435761) + 0x9e3779b9) >>> 0 || 1;
  const bound = Math.sqrt(3 / dim);
  for (let i = 0; i < a.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    a[i] = (state / 2 ** 31 - 1) * bound;
  }
}

const FREED = new Float32Array(0); // what every view of a freed adapter is; a view whose memory has grown has length 0 too

export class MicroLoRA {
  // dim each: the input, the output, the gradient or direction. rank x dim each: A, B. All in the host's memory.
  x = FREED;
  y = FREED;
  e = FREED;
  a = FREED;
  b = FREED;
  _adapts = 0;
  _forwards = 0;
  _base = 0; // what `alloc` gave; 0 when freed
  _at = { x: 0, y: 0, e: 0, a: 0, b: 0, h: 0 }; // byte offsets of the arrays
  _blocks = { forward: 0, delta: 0, adapt: 0 }; // byte offsets of the argument blocks

  /**
   * @param {number} [dim] 1..65536 @param {number} [alpha] @param {number} [learning_rate]
   * @param {{rank?: number, seed?: number, clip?: number, host?: import("../kernels/host.js").KernelHost}} [options]
   *   rank 1..16; `clip` bounds the norm of one step's gradient, 0 leaves it
   */
  constructor(dim = 256, alpha = 0.1, learning_rate = 0.01, { rank = 2, seed = 1, clip = 0, host } = {}) {
    this._dim = integer(dim, "dim", 1, MAX_DIM);
    this.rank = integer(rank, "rank", 1, MAX_RANK);
    this.alpha = number(alpha, "alpha", -1e6, 1e6);
    this.learning_rate = number(learning_rate, "learning_rate", 0, 1e6);
    this.seed = integer(seed, "seed", 0, 2 ** 32 - 1);
    this.clip = number(clip, "clip", 0, 1e30);
    this.host = theHost(host);
    this._forward = this.host.ops.microlora_forward;
    this._adapt = this.host.ops.microlora_adapt;
    this.#allocate();
    this.reset();
  }

  /** One allocation for all arrays: x, y, e (dim each), A, B (rank x dim each), h (2 rank). */
  #allocate() {
    const [d, r] = [this._dim, this.rank];
    const lengths = { x: d, y: d, e: d, a: r * d, b: r * d, h: 2 * r };
    let floats = 0;
    for (const [name, length] of Object.entries(lengths)) {
      this._at[name] = floats * 4;
      floats += Math.ceil(length / 4) * 4;
    }
    this._base = this.host.alloc(4 * floats);
    for (const name of Object.keys(lengths)) this._at[name] += this._base;
    this._blocks = this.#makeBlocks();
    this._view();
  }

  #makeBlocks() {
    const common = { ...this._at, d: this._dim, r: this.rank, scale: this.alpha };
    return {
      forward: this.host.block("microlora_forward", { ...common, residual: 1 }),
      delta: this.host.block("microlora_forward", { ...common, y: this._at.e, residual: 0 }),
      adapt: this.host.block("microlora_adapt", { ...common, lr: this.learning_rate, clip: this.clip }),
    };
  }

  /** Views of the arrays; made again whenever memory has grown, which detaches the old ones. */
  _view() {
    if (!this._base) throw new Disposed("This adapter was freed; make a new one.");
    const [buffer, d, r] = [this.host.memory.buffer, this._dim, this.rank];
    this.x = new Float32Array(buffer, this._at.x, d);
    this.y = new Float32Array(buffer, this._at.y, d);
    this.e = new Float32Array(buffer, this._at.e, d);
    this.a = new Float32Array(buffer, this._at.a, r * d);
    this.b = new Float32Array(buffer, this._at.b, r * d);
  }

  /** Back to the start: A as the seed gives it, B zero, counters zero. A fresh adapter answers its input. */
  reset() {
    if (this.x.length === 0) this._view();
    fillInitial(this.a, this._dim, this.seed);
    this.b.fill(0);
    this.x.fill(0);
    this._adapts = 0;
    this._forwards = 0;
  }

  /**
   * y, `dim` numbers. Raises WrongLength, NotFinite, or OutputNotFinite when y leaves the range of f32.
   * @param {ArrayLike<number>} input @returns {Float32Array} the caller's own; see `results.js` before transferring it
   */
  forward_array(input) {
    if (this.x.length === 0) this._view();
    if (input?.length !== this._dim) wrongVector(input, this._dim, "input");
    this.x.set(input);
    this.forward();
    return copyOf(this.y);
  }

  /** From the numbers at `get_input_ptr()` to those at `get_output_ptr()`, without a copy. Raises as `forward_array`. */
  forward() {
    const code = this._forward(this._blocks.forward, 0, 1);
    if (code) raise(code, "microlora_forward");
    this._forwards++;
  }

  /** Byte offset of the input in `host.memory.buffer`. Trap: read `memory.buffer` anew for each use; it is replaced when memory grows. */
  get_input_ptr() {
    return this._at.x;
  }

  /** Byte offset of the output in `host.memory.buffer`. */
  get_output_ptr() {
    return this._at.y;
  }

  /**
   * One descent step for gradient = dL/dy at `input`, or at the last input. Raises WrongLength, NotFinite, InvalidOption when there was no
   * input yet, OutputNotFinite when the step is too large; then nothing changed.
   * @param {ArrayLike<number>} gradient @param {ArrayLike<number>} [input]
   */
  adapt_array(gradient, input) {
    if (this.x.length === 0) this._view();
    if (gradient?.length !== this._dim) wrongVector(gradient, this._dim, "gradient");
    this.#at(input);
    this.e.set(gradient);
    this.#step();
  }

  /**
   * Reinforce (improvement > 0) or weaken (< 0) an output change by a step with dL/dy = -clip(improvement, -1, 2) * u / ||u||.
   * u is `direction`, else what the adapter adds to the input, else, when that is zero, the input. An improvement of 0 changes nothing and is
   * not counted. Raises as `adapt_array`; InvalidOption when u is zero.
   * @param {number} improvement @param {ArrayLike<number>} [direction] @param {ArrayLike<number>} [input]
   */
  adapt_with_reward(improvement, direction, input) {
    const rho = Math.min(Math.max(number(improvement, "improvement"), REWARD_MIN), REWARD_MAX);
    if (this.x.length === 0) this._view();
    this.#at(input);
    this.#direction(direction);
    const norm = Math.sqrt(this.e.reduce((sum, v) => sum + v * v, 0));
    if (!norm) throw new InvalidOption("A reward needs a direction: the input is zero, so give `direction` with a value other than zero");
    if (!rho) return;
    for (let i = 0; i < this.e.length; i++) this.e[i] = (-rho * this.e[i]) / norm;
    this.#step();
  }

  /** Puts u into e. @param {ArrayLike<number>} [direction] */
  #direction(direction) {
    if (direction) {
      if (direction.length !== this._dim) wrongVector(direction, this._dim, "direction");
      this.e.set(direction);
      return;
    }
    const code = this._forward(this._blocks.delta, 0, 1);
    if (code) raise(code, "microlora_forward");
    if (this.e.every((v) => v === 0)) this.e.set(this.x);
  }

  /** @param {ArrayLike<number>} [input] */
  #at(input) {
    if (input) {
      if (input.length !== this._dim) wrongVector(input, this._dim, "input");
      this.x.set(input);
    } else if (this._forwards === 0) {
      this.#requireInput();
    }
  }

  /** Before the first forward there may be an input at `get_input_ptr()`. */
  #requireInput() {
    if (this.x.every((v) => v === 0)) throw new InvalidOption("There is no input to adapt at: call forward_array first, or pass `input`");
  }

  #step() {
    const code = this._adapt(this._blocks.adapt, 0, 1);
    if (code) raise(code, "microlora_adapt");
    this._adapts++;
  }

  /** Frobenius norm of the change of weights, alpha * A B. */
  delta_norm() {
    if (this.x.length === 0) this._view();
    const [d, r] = [this._dim, this.rank];
    const product = (m, k, l) => {
      let sum = 0;
      for (let i = 0; i < d; i++) sum += m[k * d + i] * m[l * d + i];
      return sum;
    };
    let sum = 0;
    for (let k = 0; k < r; k++) for (let l = 0; l < r; l++) sum += product(this.a, k, l) * product(this.b, k, l);
    return Math.abs(this.alpha) * Math.sqrt(Math.max(0, sum));
  }

  /** Steps taken since the start or reset. */
  adapt_count() {
    return this._adapts;
  }

  /** Forwards since the start or reset. */
  forward_count() {
    return this._forwards;
  }

  /** Trained numbers: 2 * rank * dim. */
  param_count() {
    return 2 * this.rank * this._dim;
  }

  dim() {
    return this._dim;
  }

  /** Everything as JSON data; Python's `import_state` reads it too. */
  export_state() {
    if (this.x.length === 0) this._view();
    const text = (/** @type {Float32Array} */ m) => toBase64(new Uint8Array(m.buffer, m.byteOffset, m.byteLength));
    return {
      format: FORMAT, version: 1, dim: this._dim, rank: this.rank, alpha: this.alpha, learning_rate: this.learning_rate, seed: this.seed, clip: this.clip,
      adapt_count: this._adapts, forward_count: this._forwards, a: text(this.a), b: text(this.b),
    };
  }

  /** Take over an exported state of the same dim and rank. Raises BackupInvalid; then nothing changed. @param {any} state */
  import_state(state) {
    const [a, b] = this._matrices(state);
    checkNumbers(state);
    if (this.x.length === 0) this._view();
    this.a.set(a);
    this.b.set(b);
    this.x.fill(0);
    for (const [name] of NUMBERS) this[name] = state[name];
    [this.seed, this._adapts, this._forwards] = [state.seed, state.adapt_count, state.forward_count];
    this.#freeBlocks();
    this._blocks = this.#makeBlocks();
  }

  /** A and B of a state for this adapter. @param {any} state */
  _matrices(state) {
    if (state?.format !== FORMAT || state.version !== 1) throw new BackupInvalid(`This is no exported adapter: expected format "${FORMAT}" version 1. Nothing was changed.`);
    if (state.dim !== this._dim || state.rank !== this.rank) {
      throw new BackupInvalid(`The state is for dim ${state.dim} rank ${state.rank}, this adapter has dim ${this._dim} rank ${this.rank}. Nothing was changed.`);
    }
    return ["a", "b"].map((name) => matrix(state[name], name, this.rank * this._dim));
  }

  #freeBlocks() {
    for (const block of Object.values(this._blocks)) this.host.free(block);
  }

  /** Give the memory back; the adapter is not used afterwards. */
  free() {
    if (!this._base) return;
    this.#freeBlocks();
    this.host.free(this._base);
    this._base = 0;
    this._forward = this._adapt = disposed;
    this.x = this.y = this.e = this.a = this.b = FREED;
  }
}

/** What a freed adapter's kernels are replaced by. @returns {never} */
function disposed() {
  throw new Disposed("This adapter was freed; make a new one.");
}

/** @type {[string, number, number][]} */
const NUMBERS = [["alpha", -1e6, 1e6], ["learning_rate", 0, 1e6], ["clip", 0, 1e30]];

/** @param {any} state */
export function checkNumbers(state) {
  for (const [name, low, high] of NUMBERS) {
    if (!(typeof state[name] === "number" && state[name] >= low && state[name] <= high)) {
      throw new BackupInvalid(`The state's "${name}" must be a number from ${low} to ${high}, found ${state[name]}. Nothing was changed.`);
    }
  }
  for (const name of ["seed", "adapt_count", "forward_count"]) {
    if (!Number.isSafeInteger(state[name]) || state[name] < 0) throw new BackupInvalid(`The state's "${name}" must be an integer from 0, found ${state[name]}. Nothing was changed.`);
  }
}

/** @param {any} text @param {string} name @param {number} length */
function matrix(text, name, length) {
  let bytes;
  try {
    bytes = fromBase64(text);
  } catch {
    bytes = new Uint8Array();
  }
  const numbers = bytes.length === 4 * length ? new Float32Array(bytes.buffer) : null;
  if (!numbers?.every(Number.isFinite)) throw new BackupInvalid(`The state's "${name}" is not ${length} finite f32 in base64. Nothing was changed.`);
  return numbers;
}
