/**
 * The safetensors format, read as hostile input, and the adapters in it that the engine loads. Runs anywhere; little-endian machines.
 * Twin of `pysrc/edgenet/lora/safetensors.py`, held to the same vectors: float types of 16 and 32 bits alone, nothing that is not finite.
 */
import { InvalidAdapter, NotFinite } from "../sdk/errors.js";

const MAX_HEADER = 4 << 20, MAX_TENSORS = 20_000, MAX_SIDES = 8, MAX_RANK = 256;
const METADATA = "__metadata__";
/** What `lora/bound.py` writes. */
const FORMAT = "edgenet-adapter";
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @typedef {{shape: number[], values: Float32Array}} Tensor */
/** @typedef {{dtype: string, shape: number[], data_offsets: [number, number]}} Entry */
/**
 * A (rank, inputs), B (outputs, rank) with the scale in it.
 * @typedef {{rank: number, inputs: number, outputs: number, a: Float32Array, b: Float32Array}} Site
 *
 * @typedef {object} Adapter
 * @property {string} id @property {string} name @property {string} baseId @property {string} baseSha256
 * @property {string} family @property {string} checksum @property {Map<string, Site>} sites
 */

/**
 * Type → bytes of a number, and f32 numbers of its bytes.
 * @type {Record<string, {width: number, read: (buffer: ArrayBuffer) => Float32Array}>}
 */
const DTYPES = {
  F32: { width: 4, read: (buffer) => new Float32Array(buffer) },
  F16: { width: 2, read: (buffer) => Float32Array.from(new Uint16Array(buffer), half) },
  BF16: { width: 2, read: (buffer) => new Float32Array(Uint32Array.from(new Uint16Array(buffer), (bits) => bits << 16).buffer) },
};

/** The number of IEEE 754 binary16's bits. @param {number} bits */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

/**
 * Every tensor as f32, copied out of the bytes, in the header's order; and the metadata.
 * @param {Uint8Array} bytes a whole file @param {string} [what] @returns {{tensors: Map<string, Tensor>, metadata: Record<string, string>}}
 * @throws {InvalidAdapter|NotFinite}
 */
export function readSafetensors(bytes, what = "the file") {
  const { header, start } = headerOf(bytes, what), { [METADATA]: metadata = {}, ...rest } = header;
  const texts = isObject(metadata) && Object.values(metadata).every((text) => typeof text === "string");
  if (!texts) throw bad(what, "its metadata must be texts by name");
  const entries = Object.entries(rest);
  if (entries.length > MAX_TENSORS) throw bad(what, `it claims ${entries.length} tensors; the most is ${MAX_TENSORS}`);
  for (const [name, entry] of entries) requireEntry(name, entry, what);
  const judged = /** @type {[string, Entry][]} */ (entries);
  requireWhole(judged, bytes.length - start, what);
  const tensors = new Map(judged.map(([name, entry]) => [name, tensorOf(bytes, start, name, entry, what)]));
  return { tensors, metadata: /** @type {Record<string, string>} */ (metadata) };
}

/**
 * An adapter bound to one model's rows, as the engine takes it.
 * @param {Uint8Array} bytes @param {string} [what] @returns {Adapter} @throws {InvalidAdapter|NotFinite}
 */
export function readAdapter(bytes, what = "the adapter") {
  const { tensors, metadata } = readSafetensors(bytes, what);
  if (metadata.format !== FORMAT || !metadata.id || !/^[0-9a-f]{64}$/.test(metadata.base_id ?? "")) {
    const wanted = `its metadata must have format ${FORMAT}, id and base_id`;
    throw new InvalidAdapter(`${what} is not made for the engine: ${wanted}. Bind it to its model first.`);
  }
  /** @type {Map<string, Site>} */
  const sites = new Map();
  for (const name of tensors.keys()) {
    const site = /^(.+)\.lora_[ab]$/.exec(name)?.[1];
    if (!site) throw bad(what, `${short(name)} is no factor; names end in .lora_a or .lora_b`);
    if (!sites.has(site)) sites.set(site, siteOf(tensors.get(`${site}.lora_a`), tensors.get(`${site}.lora_b`), site, what));
  }
  const { id, name = id, base_id: baseId, base_sha256: baseSha256 = "", family = "", checksum = "" } = metadata;
  return { id, name, baseId, baseSha256, family, checksum, sites };
}

/** @param {Tensor | undefined} a @param {Tensor | undefined} b @param {string} site @param {string} what @returns {Site} */
function siteOf(a, b, site, what) {
  const rank = a?.shape[0] ?? 0;
  if (!a || !b || a.shape.length !== 2 || b.shape.length !== 2 || b.shape[1] !== rank || rank > MAX_RANK) {
    const wanted = `must be (rank, in) and (out, rank), rank at most ${MAX_RANK}`;
    throw bad(what, `the factors of ${short(site)} ${wanted}; found ${a?.shape} and ${b?.shape}`);
  }
  return { rank, inputs: a.shape[1], outputs: b.shape[0], a: a.values, b: b.values };
}

/**
 * The JSON header, and where the tensors begin.
 * @param {Uint8Array} bytes @param {string} what @returns {{header: Record<string, unknown>, start: number}}
 */
function headerOf(bytes, what) {
  if (bytes.length < 8) throw bad(what, `it has ${bytes.length} bytes, and its header's length alone takes 8`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > Math.min(MAX_HEADER, bytes.length - 8)) {
    throw bad(what, `its header would have ${length} bytes; the file has ${bytes.length}, and the most is ${MAX_HEADER}`);
  }
  const header = parsed(bytes.subarray(8, 8 + length));
  if (!isObject(header)) throw bad(what, "its header is no JSON object in UTF-8");
  return { header, start: 8 + length };
}

/** The JSON value, undefined where there is none. @param {Uint8Array} bytes @returns {unknown} */
function parsed(bytes) {
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch {
    return undefined;
  }
}

/** @param {string} name @param {unknown} entry @param {string} what */
function requireEntry(name, entry, what) {
  const { dtype, shape, data_offsets: offsets } = /** @type {Record<string, unknown>} */ (isObject(entry) ? entry : {});
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPES, dtype)) throw bad(what, `${short(name)} must be one of ${Object.keys(DTYPES)}`);
  if (!counts(shape) || shape.length > MAX_SIDES) throw bad(what, `${short(name)} must have a shape of at most ${MAX_SIDES} sides`);
  if (!counts(offsets) || offsets.length !== 2) throw bad(what, `${short(name)} must have two byte offsets`);
}

/**
 * Return if each tensor has the bytes of its shape, and together they are the file's, each byte once.
 * @param {[string, Entry][]} entries @param {number} size @param {string} what
 */
function requireWhole(entries, size, what) {
  let at = 0;
  const order = [...entries].sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1]);
  for (const [name, { dtype, shape, data_offsets: [first, last] }] of order) {
    const wanted = shape.reduce((product, side) => product * side, DTYPES[dtype].width);
    if (wanted === 0) throw bad(what, `${short(name)} of shape ${shape} holds nothing`);
    if (last - first !== wanted) throw bad(what, `${short(name)} has ${last - first} bytes, and its shape ${shape} takes ${wanted}`);
    if (first !== at) throw bad(what, `${short(name)} begins at byte ${first} of the data, not at ${at}: bytes are shared or left over`);
    at = last;
  }
  if (at !== size) throw bad(what, `its tensors take ${at} bytes, and ${size} follow the header`);
}

/** @param {Uint8Array} bytes @param {number} start @param {string} name @param {Entry} entry @param {string} what @returns {Tensor} */
function tensorOf(bytes, start, name, { dtype, shape, data_offsets: [first, last] }, what) {
  const values = DTYPES[dtype].read(bytes.slice(start + first, start + last).buffer);
  let nothing = 0; // of a finite number times 0; NaN of any other
  for (let i = 0; i < values.length; i++) nothing += values[i] * 0;
  if (Number.isNaN(nothing)) {
    throw new NotFinite(`${what}: tensor ${short(name)} holds NaN or an infinity. The training went wrong; get another.`);
  }
  return { shape, values };
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
/** @param {unknown} value @returns {value is number[]} */
const counts = (value) => Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
/** @param {string} name */
const short = (name) => JSON.stringify(name.slice(0, 80));
/** @param {string} what @param {string} found */
const bad = (what, found) => new InvalidAdapter(`${what} is no sound safetensors file: ${found}. Get it again.`);
