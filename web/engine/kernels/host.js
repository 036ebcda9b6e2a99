/**
 * The engine module in this thread: its memory, an allocator over it, argument blocks, calls. Runs in page, worker and Node.
 * Learners keep their arrays in this memory and call `ops` themselves; `call` is the copying way for everybody else.
 */
import { AllocationFailed, Disposed, InitializationFailed, InvalidPack, InvalidParameters, KernelNotFound, ShapeMismatch } from "../../sdk/errors.js";
import { raiseForCode, trapError } from "./traps.js";

/** @typedef {[name: string, kind: "value" | "in" | "out" | "inout" | "scratch", dtype: "f32" | "i32" | "u32", shape: (string | number)[]]} Arg */
/** @typedef {Record<string, Arg[]>} Layouts argument blocks by kernel: 4-byte words in this order */
/** @typedef {(block: number, thread: number, threads: number) => number} Op answers a code of ADR-005 */
/** @typedef {{buffer: ArrayBuffer, grow: (pages: number) => number}} Memory */

const [SECTION, LM_SECTION] = ["edgenet.ops", "edgenet.lm"];
const PAGE = 65536;
const ALIGN = 16;
const VIEWS = { f32: Float32Array, i32: Int32Array, u32: Uint32Array };
const align = (/** @type {number} */ n) => Math.ceil(n / ALIGN) * ALIGN;

export class KernelHost {
  /**
   * @param {Memory} memory @param {Record<string, Op>} ops @param {Layouts} layouts
   * @param {{name: string, heapBase: number, maxPages?: number, table?: any}} about `table`: of the language-model kernels
   */
  constructor(memory, ops, layouts, { name, heapBase, maxPages = 1024, table = null }) {
    this.table = table;
    this.memory = memory;
    this.ops = ops;
    this.layouts = layouts;
    this.name = name;
    this.maxPages = maxPages;
    this.top = align(heapBase);
    /** @type {Map<number, number>} pointer → bytes, of what is in use */
    this.sizes = new Map();
    /** @type {Map<number, number[]>} bytes → free pointers of exactly that size: sizes repeat, so nothing is split */
    this.spare = new Map();
  }

  /** The module as a runner of language-model kernels, in the memory that nobody uses now. Raises InvalidPack. @returns {import("./records.js").RecordEngine} */
  records() {
    if (!this.table) throw new InvalidPack(`${this.name} has no kernels of language models.`);
    return { exports: /** @type {any} */ (this.ops), memory: /** @type {any} */ (this.memory), base: this.top, table: this.table };
  }

  /** A pointer to zeroed bytes, 16-aligned. Trap: memory may grow, and then views made before are detached. @param {number} bytes */
  alloc(bytes) {
    const size = Math.max(align(bytes), ALIGN);
    const at = this.spare.get(size)?.pop() ?? this.#extend(size);
    this.sizes.set(at, size);
    new Uint8Array(this.memory.buffer, at, size).fill(0);
    return at;
  }

  /** @param {number} size */
  #extend(size) {
    const at = this.top;
    const missing = Math.ceil((at + size - this.memory.buffer.byteLength) / PAGE);
    if (missing > 0) {
      const pages = this.memory.buffer.byteLength / PAGE + missing;
      if (pages > this.maxPages) throw new AllocationFailed(`${this.name} needs ${pages} pages, more than its limit of ${this.maxPages}. Free what is not used.`, { pages });
      this.memory.grow(missing);
    }
    this.top = at + size;
    return at;
  }

  /** @param {number} at what `alloc` gave */
  free(at) {
    const size = this.sizes.get(at);
    if (!size) throw new Disposed(`There is nothing allocated at ${at}: it was freed before.`, { at });
    this.sizes.delete(at);
    if (!this.spare.has(size)) this.spare.set(size, []);
    this.spare.get(size)?.push(at);
  }

  /** Bytes in use, for tests and the memory display. */
  get used() {
    return [...this.sizes.values()].reduce((sum, n) => sum + n, 0);
  }

  /** @param {string} op @returns {Arg[]} */
  layout(op) {
    if (!Object.hasOwn(this.layouts, op)) throw new KernelNotFound(`There is no kernel "${op}". Known: ${Object.keys(this.layouts).join(", ")}.`, { kernel: op });
    return this.layouts[op];
  }

  /** An argument block for `op`, allocated and filled; `values` gives numbers and pointers by name. @param {string} op @param {Record<string, number>} values */
  block(op, values) {
    const layout = this.layout(op);
    const at = this.alloc(4 * layout.length);
    this.fill(at, op, values);
    return at;
  }

  /** @param {number} at @param {string} op @param {Record<string, number>} values */
  fill(at, op, values) {
    const view = new DataView(this.memory.buffer, at);
    this.layout(op).forEach(([name, kind, dtype], i) => {
      const value = values[name];
      if (typeof value !== "number") throw new InvalidParameters(`${op}: "${name}" must be a number, found ${value}.`, { kernel: op, name });
      if (kind === "value" && dtype === "f32") view.setFloat32(4 * i, value, true);
      else view.setUint32(4 * i, value, true);
    });
  }

  /** The byte offset of an argument inside its block. @param {string} op @param {string} name */
  offsetOf(op, name) {
    return 4 * this.layout(op).findIndex((arg) => arg[0] === name);
  }

  /**
   * Calls a kernel with copied arrays: `values` holds numbers and typed arrays by name.
   * Raises KernelNotFound, InvalidParameters, ShapeMismatch, AllocationFailed, or a trap's error.
   * @param {string} op @param {Record<string, any>} values
   * @returns {{code: number, outputs: Record<string, any>}}
   */
  call(op, values) {
    const layout = this.layout(op);
    const placed = [];
    try {
      const words = Object.fromEntries(layout.map((arg) => [arg[0], arg[1] === "value" ? values[arg[0]] : this.#place(op, arg, values, placed)]));
      const block = this.block(op, words);
      placed.push(block);
      this.#copyIn(layout, values, words);
      const code = this.#run(op, block);
      const outputs = {};
      for (const arg of layout.filter(([, kind]) => kind === "out" || kind === "inout")) {
        outputs[arg[0]] = new VIEWS[arg[2]](this.memory.buffer, words[arg[0]], this.#length(op, arg, values)).slice();
      }
      return { code, outputs };
    } finally {
      placed.forEach((at) => this.free(at));
    }
  }

  /** As `call`, but answers the outputs; a code other than OK raises KernelTrap. @param {string} op @param {Record<string, any>} values */
  run(op, values) {
    const { code, outputs } = this.call(op, values);
    raiseForCode(code, op);
    return outputs;
  }

  /** @param {string} op @param {Arg} arg @param {Record<string, any>} values @param {number[]} placed */
  #place(op, arg, values, placed) {
    const length = this.#length(op, arg, values);
    const given = values[arg[0]];
    if ((arg[1] === "in" || arg[1] === "inout") && given?.length !== length) {
      throw new ShapeMismatch(`${op}: "${arg[0]}" has ${given?.length ?? "no"} numbers, wanted ${length} (${arg[3].join(" x ")}).`, { kernel: op, name: arg[0] });
    }
    const at = this.alloc(4 * length);
    placed.push(at);
    return at;
  }

  /** @param {Arg[]} layout @param {Record<string, any>} values @param {Record<string, number>} words */
  #copyIn(layout, values, words) {
    for (const [name, kind, dtype] of layout) {
      if (kind === "in" || kind === "inout") new VIEWS[dtype](this.memory.buffer, words[name], values[name].length).set(values[name]);
    }
  }

  /** @param {string} op @param {Arg} arg @param {Record<string, any>} values */
  #length(op, [name, , , shape], values) {
    const sizes = { ...values, threads: 1, "2r": 2 * values.r };
    const length = shape.reduce((product, n) => Number(product) * (typeof n === "number" ? n : sizes[n]), 1);
    if (!Number.isSafeInteger(length) || Number(length) < 0) throw new InvalidParameters(`${op}: "${name}" has the sizes ${shape.join(" x ")}, which must be integers from 0.`, { kernel: op, name });
    return Number(length);
  }

  /** @param {string} op @param {number} block */
  #run(op, block) {
    try {
      return this.ops[op](block, 0, 1);
    } catch (error) {
      throw trapError(error, `The kernel "${op}"`);
    }
  }
}

/**
 * The engine module, instantiated. It says itself how its kernels take their arguments (custom section "edgenet.ops").
 * @param {WebAssembly.Module} module @returns {Promise<KernelHost>}
 */
export async function wasmHost(module) {
  const layouts = sectionOf(module, SECTION);
  if (!layouts) throw new InvalidPack(`This module has no section "${SECTION}": it is not an engine module.`);
  let exports;
  try {
    ({ exports } = await WebAssembly.instantiate(module, {}));
  } catch (error) {
    throw new InitializationFailed(`The engine module could not be instantiated: ${/** @type {Error} */ (error).message}.`);
  }
  const { memory, __heap_base: heapBase, ...ops } = /** @type {any} */ (exports);
  return new KernelHost(memory, ops, layouts, { name: "wasm", heapBase: heapBase.value, table: sectionOf(module, LM_SECTION) });
}

/** A custom section's JSON, or null. @param {WebAssembly.Module} module @param {string} name */
function sectionOf(module, name) {
  const [section] = WebAssembly.Module.customSections(module, name);
  return section ? JSON.parse(new TextDecoder().decode(section)) : null;
}
