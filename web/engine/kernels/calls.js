/**
 * From a kernel's entry in `kernels.json` and a caller's arrays to one checked call. Pure; runs anywhere. Twin of `pysrc/edgenet/kernels/calls.py`.
 * The pack's own words decide how many inputs, how long each is (a shape may name parameters, as in "d_in*r + r*d_out"), and the order of
 * the parameter block. Arrays are f32 so far.
 */
import { DTypeMismatch, InvalidParameters, ShapeMismatch, UnsupportedFeature } from "../../sdk/errors.js";

/**
 * @typedef {object} KernelCall
 * @property {Float32Array} a the first input, flat
 * @property {Float32Array} [b] the second, where the kernel has one
 * @property {Record<string, number>} [params] by name; the pack's defaults fill the rest
 * @property {Float32Array} [output] the output's values before the call (zeros if absent), for kernels that add to them
 * @property {number} [outputSize] numbers in the output, where the pack's shape does not say
 * @property {number} [scratchSize] floats of scratch, else what the pack says
 */

const integer = (/** @type {any} */ v, low, high) => Number.isInteger(v) && v >= low && v <= high;
/** type → [fits, DataView setter]. @type {Record<string, [(v: any) => boolean, "setFloat32" | "setInt32" | "setUint32"]>} */
const PARAMS = {
  f32: [(v) => typeof v === "number" && Number.isFinite(Math.fround(v)), "setFloat32"],
  i32: [(v) => integer(v, -(2 ** 31), 2 ** 31 - 1), "setInt32"],
  u32: [(v) => integer(v, 0, 2 ** 32 - 1), "setUint32"],
};

const bad = (entry, what) => new InvalidParameters(`The kernel "${entry.id}" ${what}.`, { kernel: entry.id });
const unsupported = (entry, what) => new UnsupportedFeature(`The kernel "${entry.id}" has ${what}, which EdgeNet cannot pass yet.`, { kernel: entry.id });

/** Numbers in an array of this shape; null when it names a size that nobody gave. @param {(string | number)[]} shape @param {Record<string, number>} sizes */
export function shapeSize(shape, sizes) {
  const size = (/** @type {string} */ text) => (/^\d+$/.test(text) ? Number(text) : Object.hasOwn(sizes, text) ? sizes[text] : NaN);
  const sum = (/** @type {string | number} */ dimension) => String(dimension).split("+").reduce((all, term) => all + term.split("*").reduce((n, f) => n * size(f.trim()), 1), 0);
  const total = shape.reduce((/** @type {number} */ n, dimension) => n * sum(dimension), 1);
  return Number.isNaN(total) ? null : total;
}

/** The parameter block and the values with the pack's defaults. Raises InvalidParameters. @param {any} entry @param {Record<string, any>} [given] */
export function packParams(entry, given = {}) {
  const table = Object.entries(entry.params);
  const unknown = Object.keys(given).filter((name) => !Object.hasOwn(entry.params, name));
  if (unknown.length) throw bad(entry, `has no parameter ${unknown.join(", ")}; it takes ${Object.keys(entry.params).join(", ") || "none"}`);
  const view = new DataView(new ArrayBuffer(4 * table.length));
  /** @type {Record<string, any>} */
  const values = {};
  table.forEach(([name, row], i) => {
    const value = (Object.hasOwn(given, name) ? given[name] : undefined) ?? row?.default;
    if (!Object.hasOwn(PARAMS, row?.type)) throw unsupported(entry, `the parameter "${name}" of type ${JSON.stringify(row?.type)}`);
    const [fits, set] = PARAMS[row.type];
    if (value === undefined) throw bad(entry, `needs the parameter "${name}" (${row.type})`);
    if (!fits(value)) throw bad(entry, `takes a ${row.type} as "${name}", found ${typeof value === "number" ? value : JSON.stringify(value)}`);
    view[set](4 * i, value, true);
    values[name] = value;
  });
  return { block: new Uint8Array(view.buffer), values };
}

/**
 * One call for `Extension.call`, checked. Raises InvalidParameters, ShapeMismatch, DTypeMismatch or UnsupportedFeature.
 * @param {any} entry @param {KernelCall} call @returns {import("./extension.js").ExtCall}
 */
export function makeCall(entry, { a, b, params, output, outputSize, scratchSize } = /** @type {any} */ ({})) {
  const { block, values } = packParams(entry, params);
  const sizes = Object.fromEntries(Object.entries(values).filter(([, v]) => Number.isInteger(v)));
  const { inputs, outputs } = entry;
  if (inputs.length < 1 || inputs.length > 2 || outputs.length !== 1) throw unsupported(entry, `${inputs.length} inputs and ${outputs.length} outputs (1 or 2 and 1 are possible)`);
  if ((b == null) !== (inputs.length === 1)) throw bad(entry, `takes ${inputs.length} inputs: ${inputs.map((t) => t.name).join(", ")}`);
  const scratch = scratchSize ?? shapeSize(entry.scratch?.length ? entry.scratch : [0], sizes) ?? 0;
  if (!integer(scratch, 0, 2 ** 30 - 1)) throw bad(entry, `takes scratch as a whole number of floats, found ${scratch}`);
  return {
    params: block,
    a: array(entry, inputs[0], a, sizes),
    b: b == null ? new Float32Array(0) : array(entry, inputs[1], b, sizes),
    out: array(entry, outputs[0], output ?? zeros(entry, outputs[0], sizes, outputSize), sizes),
    scratch: 4 * scratch,
  };
}

/** @param {any} entry @param {any} tensor @param {Record<string, number>} sizes @param {number} [asked] */
function zeros(entry, tensor, sizes, asked) {
  const size = asked ?? shapeSize(tensor.shape, sizes);
  if (!integer(size, 0, 2 ** 30 - 1)) throw bad(entry, `does not say how long "${tensor.name}" is; give outputSize in numbers, found ${size}`);
  return new Float32Array(/** @type {number} */ (size));
}

/** @param {any} entry @param {any} tensor @param {any} given @param {Record<string, number>} sizes */
function array(entry, tensor, given, sizes) {
  if (tensor.dtype !== "f32") throw unsupported(entry, `the dtype ${tensor.dtype} of "${tensor.name}"`);
  if (!(given instanceof Float32Array)) {
    const found = given?.constructor?.name ?? String(given);
    throw new DTypeMismatch(`The kernel "${entry.id}" takes "${tensor.name}" as Float32Array, found ${found}. Convert it first.`, { kernel: entry.id, name: tensor.name });
  }
  const want = shapeSize(tensor.shape, sizes);
  if (want !== null && given.length !== want) {
    const what = `The kernel "${entry.id}" takes ${want} numbers [${tensor.shape.join(", ")}] as "${tensor.name}", found ${given.length}.`;
    throw new ShapeMismatch(what, { kernel: entry.id, name: tensor.name, expected: want, found: given.length });
  }
  return given;
}
