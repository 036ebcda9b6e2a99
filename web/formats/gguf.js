/**
 * A dropped GGUF file's header, read by range and judged as hostile input, before anything is loaded. Runs in page and worker.
 * Twin of `pysrc/edgenet/formats/gguf.py`, held to the same vectors. It keeps no vocabulary: the Python worker reads the header's bytes
 * (`Header.dataOffset` of them) to compile. `gguf-info.js` makes a description of a header.
 */
import { InvalidGguf, UnsupportedTensorType } from "../sdk/errors.js";
import { ARRAY, Cursor, MAX_HEADER, SCALARS, STRING, Short, typeName } from "./cursor.js";
import { BY_ID } from "./types.js";

const MAGIC = 0x46554747; // "GGUF"
const VERSIONS = [2, 3];
const MAX_ROWS = 10_000, MAX_NAME = 64, MAX_KEY = 65_535, MAX_DIMENSIONS = 4;
/** Bytes asked for first; how the window grows while the header goes on. */
const FIRST = 1 << 20, GROWTH = 4;

/**
 * @typedef {import("./cursor.js").ArrayValue} ArrayValue
 * @typedef {{name: string, type: string, shape: number[], offset: number, bytes: number}} TensorInfo `shape` is (rows, columns): the file's `ne` reversed
 *
 * @typedef {object} Header
 * @property {number} version @property {Map<string, string | number | boolean | ArrayValue>} metadata @property {Map<string, string>} types
 * @property {Map<string, TensorInfo>} tensors @property {number} alignment @property {number} length bytes of the header
 * @property {number} dataOffset where the weights begin @property {number} size bytes of the file
 */

/**
 * The header of a file.
 * @param {Blob} file @param {string} [name]
 * @returns {Promise<Header>} @throws {InvalidGguf | UnsupportedTensorType}
 */
export async function readHeader(file, name = "the file") {
  let window = /** @type {Uint8Array} */ (new Uint8Array(0));
  let want = Math.min(FIRST, file.size);
  for (;;) {
    const piece = new Uint8Array(await file.slice(window.length, want).arrayBuffer());
    if (piece.length !== want - window.length) throw new InvalidGguf(`${name} is cut short: ${piece.length} of ${want - window.length} bytes came at ${window.length}. Take it again.`);
    window = joined(window, piece);
    try {
      return header(new Cursor(window, file.size, name));
    } catch (error) {
      if (!(error instanceof Short)) throw error;
      want = Math.min(file.size, MAX_HEADER, Math.max(error.needed, window.length * GROWTH));
    }
  }
}

/** @param {Uint8Array} first @param {Uint8Array} second */
function joined(first, second) {
  if (!first.length) return second;
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** @param {Cursor} cursor @returns {Header} */
function header(cursor) {
  const version = readVersion(cursor);
  const [tensors, keys] = [cursor.u64("the number of tensors"), cursor.u64("the number of keys")];
  for (const [count, what] of /** @type {[bigint, string][]} */ ([[tensors, "tensors"], [keys, "metadata keys"]])) {
    if (count > MAX_ROWS) throw cursor.bad(`it claims ${count} ${what}; the most is ${MAX_ROWS}`, { count: String(count) });
  }
  const { metadata, types } = readMetadata(cursor, Number(keys));
  const infos = Array.from({ length: Number(tensors) }, () => readTensor(cursor));
  const alignment = readAlignment(cursor, metadata, types);
  const dataOffset = Math.ceil(cursor.at / alignment) * alignment;
  return { version, metadata, types, tensors: place(cursor, infos, alignment, dataOffset), alignment, length: cursor.at, dataOffset, size: cursor.size };
}

/** @param {Cursor} cursor */
function readVersion(cursor) {
  if (cursor.u32("the magic") !== MAGIC) throw cursor.bad('it does not begin with "GGUF"');
  const version = cursor.u32("the version");
  if (version && !(version & 0xffff)) throw cursor.bad("its numbers are big-endian, and only little-endian files can be read");
  if (!VERSIONS.includes(version)) throw cursor.bad(`it is of version ${version}, and versions ${VERSIONS.join(" and ")} can be read`);
  return version;
}

/** @param {Cursor} cursor @param {number} count */
function readMetadata(cursor, count) {
  /** @type {Header["metadata"]} */
  const metadata = new Map();
  /** @type {Header["types"]} */
  const types = new Map();
  for (let i = 0; i < count; i++) {
    const key = cursor.text("a metadata key", MAX_KEY), what = `metadata ${JSON.stringify(key).slice(0, 60)}`;
    if (metadata.has(key)) throw cursor.bad(`${what} is there twice`);
    const number = cursor.u32(`the type of ${what}`);
    if (number === ARRAY) {
      const item = known(cursor, cursor.u32(`the item type of ${what}`), what);
      metadata.set(key, cursor.items(item, cursor.u64(`the length of ${what}`), what));
      types.set(key, `[${typeName(item)}]`);
    } else {
      metadata.set(key, cursor.scalar(known(cursor, number, what), what));
      types.set(key, typeName(number));
    }
  }
  return { metadata, types };
}

/** @param {Cursor} cursor @param {number} number @param {string} what */
function known(cursor, number, what) {
  if (number === STRING || number in SCALARS) return number;
  throw cursor.bad(`${what} is ${number === ARRAY ? "an array of arrays, which nothing uses" : `of the unknown type ${number}`}`);
}

/** @param {Cursor} cursor @param {Header["metadata"]} metadata @param {Header["types"]} types */
function readAlignment(cursor, metadata, types) {
  const value = /** @type {number} */ (metadata.get("general.alignment") ?? 32), kind = types.get("general.alignment") ?? "u32";
  if (kind !== "u32" || value < 8 || !Number.isInteger(Math.log2(value))) {
    throw cursor.bad(`its alignment is ${kind === "u32" ? value : `of type ${kind}`}; it must be a power of two, 8 or more, stored as u32`);
  }
  return value;
}

/** A tensor as the header tells it; numbers that may lie stay whole. @param {Cursor} cursor */
function readTensor(cursor) {
  const name = cursor.text("a tensor's name", MAX_NAME), what = JSON.stringify(name);
  const dimensions = cursor.u32(`the dimensions of ${what}`);
  if (dimensions > MAX_DIMENSIONS) throw cursor.bad(`tensor ${what} claims ${dimensions} dimensions; the most is ${MAX_DIMENSIONS}`);
  const shape = Array.from({ length: dimensions }, () => cursor.u64(`the shape of ${what}`)).reverse();
  const number = cursor.u32(`the type of ${what}`), offset = cursor.u64(`the offset of ${what}`);
  const type = BY_ID.get(number);
  if (!type) {
    throw new UnsupportedTensorType(`${cursor.name}: tensor ${what} has the type number ${number}, which this EdgeNet does not know. Look for the model in another quantisation, such as Q4_K_M or Q8_0.`, { tensor: name, type: number });
  }
  if (shape.includes(0n)) throw cursor.bad(`tensor ${what} of shape ${shape} holds nothing`);
  const row = shape.at(-1) ?? 1n, elements = BigInt(type.elements);
  if (row % elements) throw cursor.bad(`rows of ${what} hold ${row} weights, no whole number of ${type.name} blocks`);
  const bytes = (shape.reduce((product, side) => product * side, 1n) / elements) * BigInt(type.bytes);
  return { name, type: type.name, shape, offset, bytes };
}

/**
 * The tensors by name at absolute offsets; each whole, inside the file and alone in its bytes.
 * @param {Cursor} cursor @param {ReturnType<typeof readTensor>[]} infos @param {number} alignment @param {number} start
 */
function place(cursor, infos, alignment, start) {
  /** @type {Map<string, TensorInfo>} */
  const placed = new Map();
  for (const { name, type, shape, offset, bytes } of infos) {
    const what = `tensor ${JSON.stringify(name)}`, end = BigInt(start) + offset + bytes;
    if (placed.has(name)) throw cursor.bad(`${what} is there twice`, { tensor: name });
    if (offset % BigInt(alignment)) throw cursor.bad(`${what} lies at ${offset}, not at a multiple of ${alignment}`, { tensor: name });
    if (end > cursor.size) throw cursor.bad(`${what} ends at byte ${end}, but the file at ${cursor.size}`, { tensor: name, size: cursor.size });
    placed.set(name, { name, type, shape: shape.map(Number), offset: start + Number(offset), bytes: Number(bytes) });
  }
  const order = [...placed.values()].sort((a, b) => a.offset - b.offset);
  order.slice(1).forEach((after, i) => {
    if (order[i].offset + order[i].bytes > after.offset) throw cursor.bad(`tensors ${JSON.stringify(order[i].name)} and ${JSON.stringify(after.name)} overlap`, { tensor: after.name });
  });
  return placed;
}
