/**
 * Arithmetic of chunks and byte ranges: bitsets, grouping, `Range` and `Content-Range`. Pure; runs anywhere.
 * A range is {from, to}: byte offsets, `to` exclusive.
 */
import { chunkCount, chunkLength } from "../trust/merkle.js";

/** @typedef {{from: number, to: number}} Range @typedef {{first: number, last: number}} Span chunk numbers, `last` inclusive */

/** @param {number} count chunks @returns {Uint8Array} bit i of the set is bit i % 8 of byte i >> 3 */
export const bitset = (count) => new Uint8Array(Math.ceil(count / 8));
export const hasBit = (/** @type {Uint8Array} */ set, /** @type {number} */ i) => (set[i >> 3] & (1 << (i & 7))) !== 0;
export const setBit = (/** @type {Uint8Array} */ set, /** @type {number} */ i) => void (set[i >> 3] |= 1 << (i & 7));
export const clearBit = (/** @type {Uint8Array} */ set, /** @type {number} */ i) => void (set[i >> 3] &= ~(1 << (i & 7)));

/** The chunk numbers below `count` whose bit is clear, ascending. @param {Uint8Array} set @param {number} count @returns {number[]} */
export function missing(set, count) {
  const out = [];
  for (let i = 0; i < count; i++) if (!hasBit(set, i)) out.push(i);
  return out;
}

/**
 * Contiguous runs of ascending chunk numbers, none longer than `limit`.
 * @param {number[]} chunks @param {number} limit @returns {Span[]}
 */
export function spans(chunks, limit = Infinity) {
  /** @type {Span[]} */
  const out = [];
  for (const i of chunks) {
    const tail = out.at(-1);
    if (tail && i === tail.last + 1 && i - tail.first < limit) tail.last = i;
    else out.push({ first: i, last: i });
  }
  return out;
}

/** Bytes of a span of chunks in a file. @param {Span} span @param {number} chunkSize @param {number} size @returns {Range} */
export const spanRange = ({ first, last }, chunkSize, size) => ({ from: first * chunkSize, to: Math.min((last + 1) * chunkSize, size) });

/** Bytes whose bit is set. @param {Uint8Array} set @param {number} chunkSize @param {number} size */
export function bytesHeld(set, chunkSize, size) {
  let held = 0;
  for (let i = 0, n = chunkCount(size, chunkSize); i < n; i++) if (hasBit(set, i)) held += chunkLength(size, chunkSize, i);
  return held;
}

/** Chunks that cover a byte range. @param {Range} range @param {number} chunkSize @returns {Span} */
export const covering = ({ from, to }, chunkSize) => ({ first: Math.floor(from / chunkSize), last: Math.ceil(to / chunkSize) - 1 });

/**
 * What a request's `Range` header asks of `size` bytes (RFC 9110, 14.2; one range only).
 * @param {string | null} header @param {number} size
 * @returns {Range | null | "unsatisfiable"} null: answer the whole file (no header, another unit, several ranges, or malformed)
 */
export function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec((header ?? "").replace(/\s/g, ""));
  if (!match || (match[1] === "" && match[2] === "")) return null;
  if (match[1] === "") return Number(match[2]) === 0 || size === 0 ? "unsatisfiable" : { from: Math.max(0, size - Number(match[2])), to: size };
  const from = Number(match[1]);
  const last = match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (match[2] !== "" && Number(match[2]) < from) return null;
  return from >= size ? "unsatisfiable" : { from, to: last + 1 };
}

/**
 * `bytes 0-99/1234` → {from: 0, to: 100, total: 1234}; total is null for `*`. Null if there is no such header or it is malformed.
 * @param {string | null} header @returns {{from: number, to: number, total: number | null} | null}
 */
export function parseContentRange(header) {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec((header ?? "").trim());
  if (!match || Number(match[2]) < Number(match[1])) return null;
  return { from: Number(match[1]), to: Number(match[2]) + 1, total: match[3] === "*" ? null : Number(match[3]) };
}
