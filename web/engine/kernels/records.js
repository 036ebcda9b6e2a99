/**
 * One kernel of the language engine as a lowered program of one record, laid out from a health vector. Runs anywhere.
 * Twin of `plan_vector` in `pysrc/edgenet/kernels/lm/record.py`.
 */
import { fromBase64 } from "../../trust/bytes.js";
import { CONTROL, END } from "../lm/abi.js";

const [PAGE, ALIGN] = [65536, 64];
const align = (/** @type {number} */ n) => Math.ceil(n / ALIGN) * ALIGN;

/**
 * @typedef {object} RecordEngine an engine module whose memory from `base` on is free to use
 * @property {{run: (program: number, thread: number, threads: number) => number}} exports @property {WebAssembly.Memory} memory @property {number} base
 * @property {number} [control] address of the control words, where threads wait at them; else they lie at `base`, cleared
 * @property {{ops: [string, [name: string, kind: string, dtype: string][]][]}} table its section "edgenet.lm"
 *
 * @typedef {{kernel: string, words: Record<string, number>, arrays: Record<string, {bytes: number, data?: string, code?: number}>, outputs: Record<string, string>}} Vector
 */

/**
 * Runs a vector; answers the code and the bytes of its outputs, whatever the code. Memory grows if it must.
 * @param {RecordEngine} engine @param {Vector} vector @returns {{code: number, outputs: Record<string, Uint8Array>}}
 */
export function runRecord(engine, vector, threads = 1) {
  const { exports, memory } = engine;
  const control = engine.control ?? align(engine.base);
  const { program, places, start, end } = placed(engine, control, vector);
  const missing = Math.ceil((end - memory.buffer.byteLength) / PAGE);
  if (missing > 0) memory.grow(missing);
  new Uint8Array(memory.buffer, engine.base, end - engine.base).fill(0);
  new Uint32Array(memory.buffer, start, program.length).set(program);
  for (const [name, { data }] of Object.entries(vector.arrays)) {
    if (data) new Uint8Array(memory.buffer, places[name]).set(fromBase64(data));
  }
  const code = exports.run(start, 0, threads);
  const outputs = Object.keys(vector.outputs).map((name) => [name, new Uint8Array(memory.buffer, places[name], vector.arrays[name].bytes).slice()]);
  return { code, outputs: Object.fromEntries(outputs) };
}

/** @param {RecordEngine} engine @param {number} control @param {Vector} vector */
function placed({ table, base }, control, { kernel, words, arrays }) {
  const op = table.ops.findIndex(([name]) => name === kernel);
  const args = /** @type {number[]} */ ([]);
  const places = /** @type {Record<string, number>} */ ({});
  const start = align(base) + CONTROL.bytes;
  let end = start + 4 * ALIGN;
  for (const [name] of table.ops[op][1]) {
    const array = arrays[name];
    if (!array) {
      args.push(words[name] ?? 0);
      continue;
    }
    args.push(end, ...(array.code === undefined ? [] : [array.code]));
    places[name] = end;
    end = align(end + array.bytes) + ALIGN;
  }
  return { program: [control, op | (args.length << 16), 1, 0, ...args, END], places, start, end };
}

/** Dtype of an output as it is compared: plain caches are f32. @param {RecordEngine["table"]} table @param {string} kernel @param {string} output */
export function outputType(table, kernel, output) {
  const dtype = table.ops.find(([name]) => name === kernel)?.[1].find(([name]) => name === output)?.[2];
  return dtype === "kv" ? "f32" : dtype;
}
