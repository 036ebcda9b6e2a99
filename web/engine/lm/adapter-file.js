/**
 * An adapter's engine-ready bytes, judged: a safetensors file with `<site>.lora_a` (rank, in) and `<site>.lora_b` (out, rank), in the rows of the
 * model's file, what it was trained with folded in. Anybody may have written them. Pure, runs anywhere.
 */
import { AdapterMismatch, InvalidAdapter } from "../../sdk/errors.js";
import { readSafetensors } from "../../formats/safetensors.js";

/** Of wasm/lm/lm.h: what the kernel multiplies. */
export const MAX_RANK = 256;
const FORMAT = "edgenet-adapter";
const FACTOR = /^(.+)\.lora_(a|b)$/;
/** Factors begin at multiples of this many values, for loads of whole vectors. */
const ALIGN = 4;
const padded = (/** @type {number} */ count) => Math.ceil(count / ALIGN) * ALIGN;

/**
 * @typedef {[site: string, width: number, out: number]} Site `width`: values of a row that goes in
 * @typedef {{row: number, rank: number, a: Float32Array, b: Float32Array}} Part of one site; `row`: of the table
 * @typedef {object} Factors
 * @property {Part[]} parts @property {number} values room that they need in the pool @property {number} rank the highest
 * @property {Record<string, string>} metadata `id`, `name`, `base_id` and what else its maker wrote
 */

/**
 * @param {Uint8Array} bytes @param {{sites: Site[], base_id: string}} model what adapters of this model are
 * @returns {Factors} @throws {InvalidAdapter | AdapterMismatch}
 */
export function readAdapter(bytes, { sites, base_id }) {
  const { metadata, tensors } = readSafetensors(bytes);
  if (metadata.format !== FORMAT) throw new InvalidAdapter(`These bytes are no adapter made ready for an engine: their format is ${JSON.stringify(metadata.format ?? null)}, not "${FORMAT}". Load the adapter's own file; it is made ready then.`, { format: metadata.format ?? null });
  if (metadata.base_id !== base_id) throw new AdapterMismatch(`The adapter was made for a base model ${String(metadata.base_id).slice(0, 12)}…, the model loaded is ${base_id.slice(0, 12)}…. Load the model that it was trained on.`, { expected: base_id, found: metadata.base_id ?? null });
  const rows = new Map(sites.map(([site, width, out], row) => [site, { row, width, out }]));
  const pairs = pairsOf(tensors, rows);
  const parts = [...pairs].map(([site, pair]) => partOf(site, pair, /** @type {Place} */ (rows.get(site))));
  if (!parts.length) throw new InvalidAdapter("The adapter has no factor at all. Export it anew.", {});
  const values = parts.reduce((sum, { a, b }) => sum + padded(a.length) + padded(b.length), 0);
  return { parts, values, rank: Math.max(...parts.map(({ rank }) => rank)), metadata };
}

/** @typedef {{row: number, width: number, out: number}} Place @typedef {{dtype: string, shape: number[], bytes: Uint8Array}} Tensor */

/** Both factors of each site. @param {Map<string, Tensor>} tensors @param {Map<string, Place>} rows @returns {Map<string, Record<string, Tensor>>} */
function pairsOf(tensors, rows) {
  /** @type {Map<string, Record<string, Tensor>>} */ const pairs = new Map();
  for (const [name, tensor] of tensors) {
    const [, site, factor] = FACTOR.exec(name) ?? [];
    if (!rows.has(site)) throw new AdapterMismatch(`The adapter changes ${name.slice(0, 100)}; the model has no such place. It was made for another kind of model.`, { tensor: name.slice(0, 200) });
    pairs.set(site, { ...pairs.get(site), [factor]: tensor });
  }
  for (const [site, { a, b }] of pairs) if (!a || !b) throw new InvalidAdapter(`The adapter has one factor of ${site}, not both: it was cut short. Get it again.`, { site });
  return pairs;
}

/** @param {string} site @param {Record<string, Tensor>} pair @param {Place} place @returns {Part} */
function partOf(site, { a, b }, { row, width, out }) {
  const [rank] = a.shape;
  if (String([a.shape, b.shape]) !== String([[rank, width], [out, rank]])) throw new AdapterMismatch(`The factors of ${site} are ${shown(a)} and ${shown(b)}; of this model they are rank x ${width} and ${out} x rank.`, { site, a: a.shape, b: b.shape });
  if (!(rank >= 1 && rank <= MAX_RANK)) throw new InvalidAdapter(`The rank of ${site} is ${rank}; it can be 1 to ${MAX_RANK}.`, { site, rank });
  return { row, rank, a: floats(site, a), b: floats(site, b) };
}

const shown = (/** @type {Tensor} */ { shape }) => shape.join(" x ");

/** @param {string} site @param {Tensor} tensor @returns {Float32Array} its own copy: in the file it may lie anywhere */
function floats(site, { dtype, bytes }) {
  if (dtype !== "F32") throw new InvalidAdapter(`The factors of ${site} are ${dtype}; made ready for an engine they are F32.`, { site, dtype });
  const values = new Float32Array(bytes.slice().buffer);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += 0 * values[i]; // NaN, of NaN or an infinity: a test of each costs four times as much
  if (sum !== 0) throw new InvalidAdapter(`The factors of ${site} hold numbers that are not finite: the adapter is damaged, or its training failed.`, { site });
  return values;
}

/**
 * Where each factor goes, one after another. @param {Factors} factors @param {number} first value of the stretch
 * @returns {{row: number, rank: number, at: [a: number, b: number], parts: [Float32Array, Float32Array]}[]} offsets in values of the pool
 */
export function placed({ parts }, first) {
  let end = first;
  const next = (/** @type {Float32Array} */ { length }) => (end += padded(length)) - padded(length);
  return parts.map(({ row, rank, a, b }) => ({ row, rank, at: [next(a), next(b)], parts: [a, b] }));
}
