/**
 * One instance of the engine module and its memory: regions above the heap base, and calls by argument name. Engine worker and Node.
 * The module says itself how its kernels take their arguments (custom section `edgenet.ops`). A trap ends the instance's use.
 */
import { EngineTrapped, InitializationFailed, KernelNotFound, KernelTrap } from "../sdk/errors.js";

const PAGE = 65536;
const align = (/** @type {number} */ n) => (n + 63) & ~63;

/** @typedef {[name: string, kind: string, dtype: "f32" | "u32" | "i32", shape: (string | number)[]][]} Layout */

export class KernelMemory {
  /** @param {WebAssembly.Module} module */
  constructor(module) {
    const [section] = WebAssembly.Module.customSections(module, "edgenet.ops");
    if (!section) throw new InitializationFailed("The engine module does not say how its kernels take their arguments. Build the kernels again.", {});
    /** @type {Record<string, Layout>} */
    this.layouts = JSON.parse(new TextDecoder().decode(section));
    /** @type {any} */
    this.exports = new WebAssembly.Instance(module, {}).exports;
    this.block = align(this.exports.__heap_base.value);
    const words = Math.max(...Object.values(this.layouts).map((layout) => layout.length));
    this.end = align(this.block + 4 * words);
    this.reserve(this.end);
  }

  /** Bytes of memory now. */
  get bytes() { return this.exports.memory.buffer.byteLength; }

  /** Regions of 4-byte words, one after the other. @template {string} T @param {Record<T, number>} words @returns {Record<T, number>} addresses */
  place(words) {
    const rows = Object.entries(words).map(([name, count]) => {
      const address = this.end;
      this.end = align(address + 4 * /** @type {number} */ (count));
      return [name, address];
    });
    this.reserve(this.end);
    return Object.fromEntries(rows);
  }

  /** Grows memory to at least `end` bytes. @param {number} end @returns {boolean} false: the browser gives no more */
  reserve(end) {
    const missing = Math.ceil((end - this.bytes) / PAGE);
    if (missing <= 0) return true;
    try {
      this.exports.memory.grow(missing);
      return true;
    } catch {
      return false;
    }
  }

  // Views die when memory grows: take one, use it, drop it.
  f32(/** @type {number} */ at, /** @type {number} */ count) { return new Float32Array(this.exports.memory.buffer, at, count); }

  u32(/** @type {number} */ at, /** @type {number} */ count) { return new Uint32Array(this.exports.memory.buffer, at, count); }

  u8() { return new Uint8Array(this.exports.memory.buffer); }

  /** A kernel's return code. @param {string} name @param {Record<string, number>} values addresses and scalars by name */
  call(name, values) {
    const layout = this.layouts[name];
    if (!layout) throw new KernelNotFound(`The engine module has no kernel "${name}". Build the kernels again.`, { kernel: name });
    const view = new DataView(this.exports.memory.buffer, this.block);
    layout.forEach(([argument, kind, dtype], i) => {
      if (kind === "value" && dtype === "f32") view.setFloat32(4 * i, values[argument], true);
      else view.setUint32(4 * i, values[argument], true);
    });
    try {
      return this.exports[name](this.block, 0, 1);
    } catch (error) {
      throw new EngineTrapped(`The kernel "${name}" was stopped (${/** @type {Error} */ (error).message}). What it held is lost; the next use starts afresh.`, { kernel: name });
    }
  }

  /** As `call`, but a code other than 0 is an error. @param {string} name @param {Record<string, number>} values */
  run(name, values) {
    const returned = this.call(name, values);
    if (returned) throw new KernelTrap(`The kernel "${name}" returned ${returned}.`, { kernel: name, returned });
  }
}
