/**
 * One extension kernel in this thread: its own module, its own memory, a fresh instance after a trap. Runs in the kernel worker and Node.
 * It cannot stop a kernel that does not end: in a page that is the watchdog's part (`web/engine/watchdog.js`).
 */
import { AllocationFailed, InitializationFailed, InvalidPack, KernelNotFound } from "../../sdk/errors.js";
import { check, layout, pack } from "./descriptor.js";
import { OK, trapError } from "./traps.js";

/** @typedef {{params: Uint8Array, a: ArrayBufferView, b: ArrayBufferView, out: ArrayBufferView, scratch: number}} ExtCall `scratch` in bytes; `out` holds the values before the call */

const PAGE = 65536;
const bytesOf = (/** @type {ArrayBufferView} */ view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

export class Extension {
  /** @param {string} id @param {WebAssembly.Module} module made by `limitMemory`, so that its memory cannot outgrow its limit */
  constructor(id, module) {
    this.id = id;
    this.module = module;
    /** @type {any} */
    this.exports = null;
  }

  /** @returns {any} */
  #live() {
    if (this.exports) return this.exports;
    try {
      const { exports } = new WebAssembly.Instance(this.module, {});
      if (!(exports.memory instanceof WebAssembly.Memory) || !(exports.__heap_base instanceof WebAssembly.Global)) throw new TypeError("it must export `memory` and `__heap_base`");
      this.exports = exports;
    } catch (error) {
      throw new InitializationFailed(`The kernel "${this.id}" could not be instantiated: ${/** @type {Error} */ (error).message}.`, { kernel: this.id });
    }
    return this.exports;
  }

  /** Raises a trap's named error; the instance is thrown away. @param {string} name @param {...number} args @returns {number} */
  #enter(name, ...args) {
    const entry = this.#live()[name];
    if (typeof entry !== "function") throw new KernelNotFound(`The kernel "${this.id}" exports no function "${name}".`, { kernel: this.id });
    try {
      return entry(...args);
    } catch (error) {
      this.exports = null;
      throw trapError(error, `The kernel "${this.id}"`);
    }
  }

  /**
   * Copies in, calls `kernel_init` (if there is one) and `kernel_forward`, copies out.
   * @param {ExtCall} call @returns {{code: number, out: Uint8Array, scratch: Uint8Array}}
   */
  call({ params, a, b, out, scratch }) {
    const exports = this.#live();
    const parts = { params, a: bytesOf(a), b: bytesOf(b), out: bytesOf(out), scratch: new Uint8Array(scratch) };
    const where = layout(Object.fromEntries(Object.entries(parts).map(([name, data]) => [name, data.length])), exports.__heap_base.value);
    this.#reserve(exports.memory, Math.max(...Object.values(where).map((r) => r.offset + r.size)));
    check(where, exports.memory.buffer.byteLength);
    const memory = new Uint8Array(exports.memory.buffer);
    for (const [name, data] of Object.entries(parts)) if (data.length) memory.set(data, where[name].offset);
    memory.set(pack(where), 0);
    const init = exports.kernel_init ? this.#enter("kernel_init", where.params.offset, where.params.size) : OK;
    const code = init || this.#enter("kernel_forward", 0);
    const copy = ({ offset, size }) => new Uint8Array(exports.memory.buffer, offset, size).slice();
    return { code, out: copy(where.out), scratch: copy(where.scratch) };
  }

  /** @param {WebAssembly.Memory} memory @param {number} end */
  #reserve(memory, end) {
    const missing = Math.ceil((end - memory.buffer.byteLength) / PAGE);
    if (missing <= 0) return;
    try {
      memory.grow(missing);
    } catch {
      throw new AllocationFailed(`The kernel "${this.id}" needs ${end} bytes, more than its limit. Use smaller inputs.`, { bytes: end });
    }
  }
}

/** Unsigned LEB128 at `at`. @param {Uint8Array} data @param {number} at @returns {[number, number]} value, next position */
function readLeb(data, at) {
  for (let value = 0, shift = 0; shift < 35; shift += 7) {
    const byte = data[at++];
    value += (byte & 0x7f) * 2 ** shift;
    if (!(byte & 0x80)) return [value, at];
  }
  throw new InvalidPack("A kernel module is cut short or not WebAssembly.");
}

/** @param {number} n @returns {number[]} */
const leb = (n) => (n < 128 ? [n] : [(n & 0x7f) | 0x80, ...leb(Math.floor(n / 128))]);

/**
 * The module with its one memory limited to `pages`: the engine itself then refuses to grow it further. Raises InvalidPack for a module
 * that imports anything, has another number of memories, or begins with more pages.
 * @param {Uint8Array} data verified module bytes @param {number} pages
 */
export function limitMemory(data, pages) {
  const parts = [data.subarray(0, 8)];
  let memories = 0;
  for (let at = 8; at < data.length;) {
    const [size, body] = readLeb(data, at + 1);
    if (data[at] === 2) throw new InvalidPack("An extension kernel must not import anything; it has a memory of its own.");
    if (data[at] === 5) memories += 1;
    parts.push(data[at] === 5 ? new Uint8Array(limited(data.subarray(body, body + size), pages)) : data.subarray(at, body + size));
    at = body + size;
  }
  if (memories !== 1) throw new InvalidPack(`An extension kernel must have one memory of its own, found ${memories}.`);
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

/** A memory section that says `pages` at most. @param {Uint8Array} body @param {number} pages */
function limited(body, pages) {
  const [count, flagsAt] = readLeb(body, 0);
  const [least] = readLeb(body, flagsAt + 1);
  if (count !== 1 || body[flagsAt] > 1 || least > pages) throw new InvalidPack(`An extension kernel must have one 32-bit memory of at most ${pages} pages, found ${count} of ${least}.`);
  const content = [1, 1, ...leb(least), ...leb(pages)];
  return [5, ...leb(content.length), ...content];
}
