/**
 * An adapter's engine-ready bytes held against a model: its base, the places it changes, the sizes of its factors. Anybody may have written
 * them. Pure, runs anywhere.
 */
import { readAdapter } from "../../formats/safetensors.js";
import { AdapterMismatch, InvalidAdapter } from "../../sdk/errors.js";

/** Factors begin at multiples of this many values, for loads of whole vectors. */
const ALIGN = 4;
const padded = (/** @type {number} */ count) => Math.ceil(count / ALIGN) * ALIGN;

/**
 * @typedef {[site: string, width: number, out: number]} Site `width`: values of a row that goes in
 * @typedef {{row: number, rank: number, a: Float32Array, b: Float32Array}} Part of one site; `row`: of the table
 * @typedef {object} Factors
 * @property {Part[]} parts @property {number} values room that they need in the pool @property {number} rank the highest
 * @property {{adapter: string, name: string, family: string, checksum: string, baseSha256: string}} about `adapter`: what does the same has the same id
 */

/**
 * @param {Uint8Array} bytes @param {{sites: Site[], base_id: string}} model what adapters of this model are
 * @returns {Factors} @throws {InvalidAdapter | AdapterMismatch | import("../../sdk/errors.js").NotFinite}
 */
export function readFactors(bytes, { sites, base_id }) {
  const { id: adapter, name, baseId, sites: found, ...about } = readAdapter(bytes);
  if (baseId !== base_id) throw new AdapterMismatch(`The adapter ${JSON.stringify(name.slice(0, 100))} was made for a base model ${baseId.slice(0, 12)}…, the model loaded is ${base_id.slice(0, 12)}…. Load the model that it was trained on.`, { expected: base_id, found: baseId });
  const places = new Map(sites.map(([site, width, out], row) => [site, { row, width, out }]));
  const parts = [...found].map(([site, factors]) => partOf(site, factors, places.get(site)));
  if (!parts.length) throw new InvalidAdapter("The adapter has no factor at all. Export it anew.", {});
  const values = parts.reduce((sum, { a, b }) => sum + padded(a.length) + padded(b.length), 0);
  return { parts, values, rank: Math.max(...parts.map(({ rank }) => rank)), about: { adapter, name, family: about.family, checksum: about.checksum, baseSha256: about.baseSha256 } };
}

/** @param {string} site @param {import("../../formats/safetensors.js").Site} factors @param {{row: number, width: number, out: number} | undefined} place @returns {Part} */
function partOf(site, { rank, inputs, outputs, a, b }, place) {
  if (!place) throw new AdapterMismatch(`The adapter changes ${site.slice(0, 100)}; the model has no such place. It was made for another kind of model.`, { site: site.slice(0, 200) });
  const { row, width, out } = place;
  if (inputs !== width || outputs !== out) throw new AdapterMismatch(`The factors of ${site} take ${inputs} values to ${outputs}; in this model it is ${width} to ${out}.`, { site, found: [inputs, outputs], expected: [width, out] });
  return { row, rank, a, b };
}

/**
 * Where each factor goes, one after another. @param {Factors} factors
 * @returns {{row: number, rank: number, at: [a: number, b: number], parts: [Float32Array, Float32Array]}[]} offsets in values from the first one
 */
export function placed({ parts }) {
  let end = 0;
  const next = (/** @type {Float32Array} */ { length }) => (end += padded(length)) - padded(length);
  return parts.map(({ row, rank, a, b }) => ({ row, rank, at: [next(a), next(b)], parts: [a, b] }));
}
