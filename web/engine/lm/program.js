/**
 * Program v1 in the browser: read, judged, lowered to the records that the engine walks. Pure; runs in a worker and in Node.
 * Twin of `pysrc/edgenet/graph/program.py` and `lowering.py`.
 */
import { InvalidProgram } from "../../sdk/errors.js";
import { loadObject } from "../../trust/fields.js";
import { END } from "./abi.js";
import { SLOTS, pageBytes, rowsOf, validate } from "./judge.js";

export { SLOTS, validate };

/** @typedef {import("./judge.js").Row} Row */
/** @typedef {import("./judge.js").Table} Table */

/**
 * The Program of a document that anyone may have written. Raises InvalidProgram or one of its kinds.
 * @param {Uint8Array | ArrayBuffer | string | Record<string, any>} data @param {Table} table @returns {any}
 */
export function parseProgram(data, table) {
  const program = loadObject(data, "program", InvalidProgram, InvalidProgram);
  validate(program, table);
  return program;
}

/**
 * K and V of each layer: byte offset in the region "kv" and bytes of a page, in the order of their offsets. Of a validated Program.
 * @param {any} program @param {Table} table @returns {{offset: number, page: number}[]}
 */
export function cacheParts(program, table) {
  const found = new Map();
  for (const [op, values] of program.code) {
    const { args } = /** @type {Row} */ (rowsOf(table).get(op));
    const named = Object.fromEntries(args.map(([name], i) => [name, values[i]]));
    for (const [name, , dtype] of args) if (dtype === "kv") found.set(named[name][1], pageBytes(table, named));
  }
  return [...found].sort(([a], [b]) => a - b).map(([offset, page]) => ({ offset, page }));
}

/** Whether a run changes a state of the Program's. Of a validated Program. @param {any} program @param {Table} table @returns {boolean} */
export function changesState({ code }, table) {
  return code.some((/** @type {any} */ [op, values]) => {
    const { args } = /** @type {Row} */ (rowsOf(table).get(op));
    return args.some(([, kind], i) => kind !== "in" && Array.isArray(values[i]) && values[i][0] === "state");
  });
}

const bits = new DataView(new ArrayBuffer(4));
const f32 = (/** @type {number} */ value) => (bits.setFloat32(0, value + 0), bits.getUint32(0));

/**
 * The records of a validated Program: `op code | words << 16`, `sync`, slot mask (bit i: argument word i is the number of a slot), the
 * argument words; END after the last. A float is its f32 bits; a matrix is its address and the code of its layout.
 * @param {any} program @param {Table} table @param {Record<string, any> & {weights: number[]}} addresses of the regions, and of the weights by index
 * @param {number[]} layouts code of each weight's layout @returns {Uint32Array}
 */
export function lower(program, table, addresses, layouts) {
  const records = program.code.flatMap((/** @type {any} */ [op, values, sync]) => {
    const { code, args } = /** @type {Row} */ (rowsOf(table).get(op));
    /** @type {number[]} */ const words = [];
    let mask = 0;
    args.forEach(([, kind, dtype], i) => {
      if (values[i]?.[0] === "slot") mask |= 1 << words.length;
      words.push(...wordsOf(values[i], kind, dtype, addresses, layouts));
    });
    return [code | (words.length << 16), sync, mask >>> 0, ...words];
  });
  return Uint32Array.from([...records, END]);
}

/** @param {any} value @param {string} kind @param {string} dtype @param {any} addresses @param {number[]} layouts @returns {number[]} */
function wordsOf(value, kind, dtype, addresses, layouts) {
  if (!Array.isArray(value)) return [kind === "value" && dtype === "f32" ? f32(value) : value];
  const [where, which] = value;
  if (where === "slot") return [SLOTS.indexOf(which)];
  if (where === "weight") return kind === "weight" ? [addresses.weights[which], layouts[which]] : [addresses.weights[which]];
  return [addresses[where] + which];
}
