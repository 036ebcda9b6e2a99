/**
 * Little-endian values off a window of a GGUF file's first bytes. Runs anywhere. Twin of `pysrc/edgenet/formats/cursor.py`.
 * Nothing is believed: a length is held against the file's bytes before anything of that length is made.
 */
import { InvalidGguf } from "../sdk/errors.js";

/** Bytes before the weights; the largest vocabularies take about 15 MB. */
export const MAX_HEADER = 100_000_000;
export const STRING = 8, ARRAY = 9;

/** Number of a metadata type in the file → its name, its bytes, its reader. @type {Record<number, {name: string, bytes: number, read: (view: DataView, at: number) => number}>} */
export const SCALARS = {
  0: { name: "u8", bytes: 1, read: (view, at) => view.getUint8(at) },
  1: { name: "i8", bytes: 1, read: (view, at) => view.getInt8(at) },
  2: { name: "u16", bytes: 2, read: (view, at) => view.getUint16(at, true) },
  3: { name: "i16", bytes: 2, read: (view, at) => view.getInt16(at, true) },
  4: { name: "u32", bytes: 4, read: (view, at) => view.getUint32(at, true) },
  5: { name: "i32", bytes: 4, read: (view, at) => view.getInt32(at, true) },
  6: { name: "f32", bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  7: { name: "bool", bytes: 1, read: (view, at) => view.getUint8(at) },
  10: { name: "u64", bytes: 8, read: (view, at) => Number(view.getBigUint64(at, true)) },
  11: { name: "i64", bytes: 8, read: (view, at) => Number(view.getBigInt64(at, true)) },
  12: { name: "f64", bytes: 8, read: (view, at) => view.getFloat64(at, true) },
};
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The window ends at `needed` or before; the file does not. */
export class Short {
  /** @param {number} needed */
  constructor(needed) {
    this.needed = needed;
  }
}

/** An array in the metadata, left where it is. @typedef {{item: string, count: number, numbers: () => number[]}} ArrayValue */

export class Cursor {
  /** @param {Uint8Array} window @param {number} size of the whole file @param {string} name */
  constructor(window, size, name) {
    this.window = window;
    this.view = new DataView(window.buffer, window.byteOffset, window.byteLength);
    this.size = size;
    this.name = name;
    this.at = 0;
  }

  /** The error that says what was found wrong. @param {string} found @param {Record<string, unknown>} [details] */
  bad(found, details = {}) {
    return new InvalidGguf(`${this.name} is no sound GGUF file: ${found}. Download it again, or ask its maker.`, details);
  }

  /** Where the next `count` bytes begin. @param {number} count @param {string} what @throws {InvalidGguf|Short} */
  take(count, what) {
    const start = this.at;
    this.require(count, what);
    this.at += count;
    return start;
  }

  /** Return if the window has the next `count` bytes. @param {number} count @param {string} what @throws {InvalidGguf|Short} */
  require(count, what) {
    const end = this.at + count;
    if (end > Math.min(this.size, MAX_HEADER)) {
      const limit = end > this.size ? `the file ends at ${this.size}` : `a header may have ${MAX_HEADER} bytes`;
      throw this.bad(`${what} at byte ${this.at} would end at byte ${end}, but ${limit}`, { offset: this.at });
    }
    if (end > this.window.length) throw new Short(end);
  }

  /** @param {string} what */
  u32(what) {
    return this.view.getUint32(this.take(4, what), true);
  }

  /** @param {string} what */
  u64(what) {
    return this.view.getBigUint64(this.take(8, what), true);
  }

  /** The next text of at most `limit` bytes. @param {string} what @param {number} [limit] */
  text(what, limit = MAX_HEADER) {
    const length = Number(this.u64(`the length of ${what}`));
    if (length > limit) throw this.bad(`${what} has ${length} bytes, more than ${limit}`, { offset: this.at });
    const start = this.take(length, what);
    try {
      return decoder.decode(this.window.subarray(start, start + length));
    } catch {
      throw this.bad(`${what} at byte ${start} is not UTF-8`, { offset: start });
    }
  }

  /** The next value of a scalar type's number. @param {number} number @param {string} what @returns {string | number | boolean} */
  scalar(number, what) {
    if (number === STRING) return this.text(what);
    const { name, bytes, read } = SCALARS[number];
    const value = read(this.view, this.take(bytes, what));
    if (name === "bool" && value > 1) throw this.bad(`${what} should be true or false (1 or 0) and is ${value}`);
    return name === "bool" ? Boolean(value) : value;
  }

  /** Go past the next `count` values of one type, judged but not kept. @param {number} number @param {bigint} count @param {string} what @returns {ArrayValue} */
  items(number, count, what) {
    const row = number === STRING ? { name: "string", bytes: 8, read: () => 0 } : SCALARS[number];
    const start = this.at, items = Number(count);
    this.require(items * row.bytes, `${what}, an array of ${count} items,`);
    if (number === STRING) for (let i = 0; i < items; i++) this.text(what);
    else this.take(items * row.bytes, what);
    const { view } = this;
    const numbers = () => Array.from({ length: items }, (_, i) => row.read(view, start + i * row.bytes));
    if (row.name === "bool" && this.window.subarray(start, this.at).some((value) => value > 1)) throw this.bad(`${what} holds a truth that is not 1 or 0`);
    return { item: row.name, count: items, numbers };
  }
}

/** The name of a scalar type's number. @param {number} number */
export const typeName = (number) => (number === STRING ? "string" : SCALARS[number].name);
