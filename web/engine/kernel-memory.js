/**
 * The whole memory of one kernel host: regions above its heap base, growing at the end, and calls by argument name with addresses.
 * Engine worker and Node. The host is this object's alone; its own allocator is not used. A trap ends the host's use.
 */
import { KernelTrap } from "../sdk/errors.js";
import { trapError } from "./kernels/traps.js";

const PAGE = 65536;
const align = (/** @type {number} */ n) => (n + 63) & ~63;

export class KernelMemory {
  /** @param {import("./kernels/host.js").KernelHost} host fresh, of a module or of scalar twins */
  constructor(host) {
    this.host = host;
    this.block = align(host.top);
    this.end = align(this.block + 4 * Math.max(...Object.values(host.layouts).map((layout) => layout.length)));
    this.reserve(this.end);
  }

  /** Bytes of memory now. */
  get bytes() { return this.host.memory.buffer.byteLength; }

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
      this.host.memory.grow(missing);
      return true;
    } catch {
      return false;
    }
  }

  // Views die when memory grows: take one, use it, drop it.
  f32(/** @type {number} */ at, /** @type {number} */ count) { return new Float32Array(this.host.memory.buffer, at, count); }

  u32(/** @type {number} */ at, /** @type {number} */ count) { return new Uint32Array(this.host.memory.buffer, at, count); }

  u8() { return new Uint8Array(this.host.memory.buffer); }

  /** A kernel's return code. @param {string} name @param {Record<string, number>} values addresses and scalars by name */
  call(name, values) {
    this.host.fill(this.block, name, values);
    try {
      return this.host.ops[name](this.block, 0, 1);
    } catch (error) {
      throw trapError(error, `The kernel "${name}"`);
    }
  }

  /** As `call`, but a code other than 0 is an error. @param {string} name @param {Record<string, number>} values */
  run(name, values) {
    const returned = this.call(name, values);
    if (returned) throw new KernelTrap(`The kernel "${name}" returned ${returned}.`, { kernel: name, returned });
  }
}
