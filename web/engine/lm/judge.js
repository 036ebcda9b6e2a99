/**
 * Judges a Program as hostile input: form, sizes, every byte of every array, weights, barriers. Pure; runs anywhere.
 * Twin of `pysrc/edgenet/graph/judge.py`: the same order of judgement, the same codes. What passes can make no kernel read or write outside
 * its region for any legal slot value, and its result does not depend on the number of threads.
 */
import { InvalidProgram, OpsetUnsupported, ProgramTooLarge, UnknownOp } from "../../sdk/errors.js";
import { BOOL, COUNT, OBJECT, POSITIVE, TEXT, brief, checkFields, matching } from "../../trust/fields.js";

/** @typedef {[name: string, kind: string, dtype: string, shape: (string | number)[], optional: number]} Arg */
/** @typedef {{name: string, code: number, args: Arg[]}} Row */
/** @typedef {{code: number, rows: number, columns: number, bytes: number, quantized: boolean}} Layout */
/**
 * What the engine module says of itself (section `edgenet.lm`).
 * @typedef {{opset: number, threads: number, ops: [string, Arg[]][], kvBits: number[],
 *   layouts: {weights: Record<string, Layout>, types: Record<string, {code: number, layout: string, elements: number, bytes: number}>, quantizedRow: {rows: number, columns: number, bytes: number}}}} Table
 */
/** @typedef {{region: string, start: number, end: number, writes: boolean, key: string, arg: string}} Range */

/** The most that a Program may have; `elements`: of one weight; `pending`: arrays touched between two barriers. */
const MOST = { memory: 2 ** 32, elements: 2 ** 40, instructions: 65536, weights: 16384, buffers: 256, pending: 256 };
const [INT_LIMIT, F32_LIMIT] = [2 ** 31, 3.4028234663852886e38];
/** Names of the slots, in the order of their numbers, and the capacity each is bounded by. */
export const SLOTS = Object.freeze(["n", "m", "s"]);
const BOUNDS = ["rows", "wanted", "sequences"];
/** A Program without state may leave the last one out. */
const REGIONS = ["arena", "kv", "constants", "state"];
const KV = ["f32", "q8", "q4"];
const DOTS = ["int8", "f32"];
/** @type {Record<string, number>} */
const CAPACITY_LIMITS = { rows: 4096, wanted: 4096, sequences: 1024, context: 2 ** 20, page: 1024, pages: 2 ** 24 };
/** @type {Record<string, number>} */
const ADAPTER_LIMITS = { slots: 256, values: 2 ** 30 };
/** Inputs that a kernel may write its result over. @type {Record<string, string[]>} */
const IN_PLACE = {
  matmul: ["residual"], add: ["x", "y"], mul: ["x", "y"], scale: ["x"], softcap: ["x"], activation: ["x"], glu: ["gate", "up"],
  matmul_f32: ["residual"], matmul_t: ["residual"], matmul_t_int8: ["residual"], matmul_int8: ["residual"], dense_t: ["residual"], head_norm: ["x"], rms_norm_grad: ["x", "dy"],
  layer_norm_grad: ["x", "dy"], activation_grad: ["x", "dy"], softcap_grad: ["x", "dy"], dropout: ["x"], token_stats: ["before"], cross_entropy_grad: ["logits"],
};

/** What Python's judge says too: a vector compares them. */
export const RULES = { slots: SLOTS, bounds: BOUNDS, regions: REGIONS, kv: KV, dots: DOTS, most: MOST, capacity: CAPACITY_LIMITS, adapters: ADAPTER_LIMITS, inPlace: IN_PLACE };

const check = (/** @type {string} */ expected, /** @type {(v: any) => boolean} */ test) => ({ expected, test });
const oneOf = (/** @type {string[]} */ ...names) => check(names.join(", "), (v) => names.includes(v));
const sizes = (/** @type {any} */ v, /** @type {(s: any) => boolean} */ good) => Array.isArray(v) && (v.length === 1 || v.length === 2) && v.every(good);
const STRING = check("a string", (v) => typeof v === "string");
const LIST = check("an array", Array.isArray);
const BASE64 = matching("base64 with padding", "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?");
const positive = (/** @type {string} */ name) => /** @type {import("../../trust/fields.js").Field} */ ([name, POSITIVE, true]);

/** @type {import("../../trust/fields.js").Field[]} */
const PROGRAM = [
  ["name", STRING, true], ["capacity", OBJECT, true], ["slots", OBJECT, true], ["regions", OBJECT, true],
  ["constants", BASE64, true], ["weights", LIST, true], ["buffers", LIST, true], ["code", LIST, true],
];
/** @type {import("../../trust/fields.js").Field[]} */
const CAPACITY = [...Object.keys(CAPACITY_LIMITS).map(positive), ["kv", TEXT, true], ["sample", BOOL, true], ["dots", TEXT, false], ["adapters", OBJECT, false]];
/** @type {import("../../trust/fields.js").Field[]} */
const WEIGHT = [
  ["name", TEXT, true], ["artifact", TEXT, true], ["offset", COUNT, true], ["bytes", COUNT, true], ["type", TEXT, true],
  ["shape", check("one or two sizes from 1", (v) => sizes(v, POSITIVE.test)), true],
];
/** @type {import("../../trust/fields.js").Field[]} */
const BUFFER = [
  ["name", TEXT, true], ["region", oneOf("arena", "state"), true], ["offset", COUNT, true], ["dtype", oneOf("f32", "i32", "u32"), true],
  ["shape", check("one or two sizes from 1, or slots", (v) => sizes(v, (s) => POSITIVE.test(s) || SLOTS.includes(s))), true],
];

/** @param {string} where @param {string} what @param {typeof InvalidProgram} [Kind] @returns {never} */
function refuse(where, what, Kind = InvalidProgram) {
  throw new Kind(`program ${where}: ${what}`, { where });
}
const product = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a * b, 1);
/** @type {WeakMap<Table, Map<string, Row>>} */
const known = new WeakMap();
/** The table's rows by name. @param {Table} table */
export function rowsOf(table) {
  if (!known.has(table)) known.set(table, new Map(table.ops.map(([name, args], code) => [name, { name, code, args }])));
  return /** @type {Map<string, Row>} */ (known.get(table));
}

/**
 * Judges a parsed Program. Raises InvalidProgram, UnknownOp, OpsetUnsupported or ProgramTooLarge.
 * @param {any} program @param {Table} table
 */
export function validate(program, table) {
  if (!OBJECT.test(program) || program.format !== "edgenet-program" || program.version !== 1) {
    refuse("", `expected format "edgenet-program", version 1; found ${brief([program?.format, program?.version])}`);
  }
  if (program.opset !== table.opset) {
    refuse("opset", `this engine has version ${table.opset}, found ${brief(program.opset)}; compile the model anew`, OpsetUnsupported);
  }
  checkFields(program, PROGRAM, "program", InvalidProgram);
  const most = judgeCapacity(program);
  judgeRegions(program);
  const regions = regionSizes(program);
  const needed = Object.values(regions).reduce((sum, size) => sum + size, judgeWeights(program.weights, table));
  if (needed >= MOST.memory) refuse("", `regions and weights need ${needed} bytes, more than the 4 GiB an engine can have`, ProgramTooLarge);
  judgeBuffers(program.buffers, most, regions);
  limit("code", program.code, MOST.instructions);
  /** @type {Range[]} */ let pending = [];
  program.code.forEach((/** @type {any} */ item, /** @type {number} */ i) => {
    const call = new Call(`code[${i}]`, item, most, { regions, weights: program.weights }, table);
    pending = meet(call, pending, item[2]);
  });
}

/** @param {string} where @param {any[]} items @param {number} most */
function limit(where, items, most) {
  if (items.length > most) refuse(where, `${items.length} items, more than ${most}`, ProgramTooLarge);
}

/** @param {any} program @returns {Record<string, number>} the largest value of each slot */
function judgeCapacity({ capacity, slots }) {
  checkFields(capacity, CAPACITY, "program capacity", InvalidProgram);
  for (const [name, most] of Object.entries(CAPACITY_LIMITS)) {
    if (capacity[name] > most) refuse("capacity", `${name} must be an integer from 1 to ${most}, found ${capacity[name]}`);
  }
  if (!KV.includes(capacity.kv)) refuse("capacity", `kv must be one of ${KV.join(", ")}, found ${brief(capacity.kv)}`);
  if (capacity.context % capacity.page) refuse("capacity", `context ${capacity.context} must be a multiple of page ${capacity.page}`);
  judgeTraining(capacity);
  const own = SLOTS.every((slot, i) => slots[slot] === capacity[BOUNDS[i]]);
  if (!own || Object.keys(slots).length !== SLOTS.length) refuse("slots", `must be those of the capacity, found ${brief(slots)}`);
  return slots;
}

/** What only Programs of training and adapters have. @param {any} capacity */
function judgeTraining({ dots = "int8", adapters }) {
  if (!DOTS.includes(dots)) refuse("capacity", `dots must be one of ${DOTS.join(", ")}, found ${brief(dots)}`);
  for (const [name, most] of adapters ? Object.entries(ADAPTER_LIMITS) : []) {
    const value = Object.hasOwn(adapters, name) ? adapters[name] : undefined;
    if (!POSITIVE.test(value) || value > most) refuse("capacity", `adapters.${name} must be an integer from 1 to ${most}, found ${brief(value)}`);
  }
}

/** Bytes of every region. @param {any} program @returns {Record<string, number>} */
export const regionSizes = ({ regions }) => Object.fromEntries(REGIONS.map((name) => [name, Object.hasOwn(regions, name) ? regions[name] : 0]));

/** @param {any} program */
function judgeRegions(program) {
  const { regions, constants } = program;
  checkFields(regions, REGIONS.map((name) => [name, COUNT, name !== "state"]), "program regions", InvalidProgram);
  for (const [name, size] of Object.entries(regionSizes(program))) {
    if (size >= MOST.memory) refuse(`regions.${name}`, `${size} bytes do not fit in 4 GiB`, ProgramTooLarge);
  }
  const bytes = (constants.length / 4) * 3 - (constants.length - constants.replace(/=+$/, "").length);
  if (bytes !== regions.constants) refuse("constants", `${bytes} bytes, but regions.constants is ${regions.constants}`);
}

/** Bytes of all weights as the engine keeps them: a matrix in its layout, a vector as f32. @param {any[]} items @param {Table} table */
function judgeWeights(items, { layouts }) {
  limit("weights", items, MOST.weights);
  return items.reduce((total, weight, i) => {
    const where = `weights[${i}]`;
    checkFields(weight, WEIGHT, `program ${where}`, InvalidProgram);
    const { shape, type, bytes } = weight;
    if (!Object.hasOwn(layouts.types, type)) refuse(where, `no kernel reads weights of type ${brief(type)}; known: ${Object.keys(layouts.types).join(", ")}`);
    if (product(shape) >= MOST.elements) refuse(where, `${brief(shape)} is more than any engine can hold`, ProgramTooLarge);
    const kind = layouts.types[type];
    const size = Math.floor(product(shape) / kind.elements) * kind.bytes;
    if (shape.at(-1) % kind.elements || size !== bytes) {
      refuse(where, `${brief(shape)} ${type} takes ${size} bytes in whole blocks of ${kind.elements}, found ${bytes}`);
    }
    const form = layouts.weights[kind.layout];
    return total + (shape.length === 1 ? 4 * shape[0] : Math.ceil(shape[0] / form.rows) * Math.floor(shape[1] / form.columns) * form.bytes);
  }, 0);
}

/** @param {any[]} items @param {Record<string, number>} most @param {Record<string, number>} regions */
function judgeBuffers(items, most, regions) {
  limit("buffers", items, MOST.buffers);
  const names = new Set();
  items.forEach((buffer, i) => {
    const where = `buffers[${i}]`;
    checkFields(buffer, BUFFER, `program ${where}`, InvalidProgram);
    inside(where, buffer.region, buffer.offset, 4 * product(buffer.shape.map((/** @type {any} */ size) => most[size] ?? size)), regions);
    if (names.has(buffer.name)) refuse(where, `the name ${brief(buffer.name)} is there twice`);
    names.add(buffer.name);
  });
}

/** @param {string} where @param {string} region @param {any} offset @param {number} size @param {Record<string, number>} regions */
function inside(where, region, offset, size, regions) {
  if (!COUNT.test(offset) || offset % 4 || offset + size > regions[region]) {
    refuse(where, `${size} bytes at ${brief(offset)} must lie in ${region} (${regions[region]} bytes) at a multiple of 4`);
  }
}

/** One instruction: its values first, then every array by the kernel's row. */
class Call {
  /** @param {string} where @param {any} item @param {Record<string, number>} most @param {any} program @param {Table} table */
  constructor(where, item, most, { regions, weights }, table) {
    if (!(Array.isArray(item) && item.length === 3 && Array.isArray(item[1]))) refuse(where, `must be [op, [arguments], sync], found ${brief(item)}`);
    const [op, values, sync] = item;
    const row = typeof op === "string" ? rowsOf(table).get(op) : undefined;
    if (!row) refuse(where, `there is no op ${brief(op)}; known: ${[...rowsOf(table).keys()].join(", ")}`, UnknownOp);
    if (values.length !== row.args.length) refuse(where, `${op} takes ${row.args.length} arguments, found ${values.length}`);
    if (sync !== 0 && sync !== 1) refuse(where, `sync must be 0 or 1, found ${brief(sync)}`);
    this.where = where;
    this.row = row;
    this.most = most;
    this.regions = regions;
    this.weights = weights;
    this.table = table;
    const pairs = row.args.map((arg, i) => /** @type {[Arg, any]} */ ([arg, values[i]]));
    /** @type {Record<string, number>} */
    this.values = {};
    for (const [arg, value] of pairs) if (arg[1] === "value") this.values[arg[0]] = this.#value(arg, value);
    this.quantised = this.#matrices(pairs.filter(([arg]) => arg[1] === "weight"));
    const arrays = pairs.filter(([arg]) => arg[1] !== "value" && arg[1] !== "weight");
    /** What the instruction touches of arena, KV and state. */
    this.ranges = arrays.flatMap(([arg, value]) => this.#range(arg, value));
  }

  #at(/** @type {Arg} */ arg) { return `${this.where} ${this.row.name}.${arg[0]}`; }

  /** A scalar, or the largest a slot may be. @param {Arg} arg @param {any} value @returns {number} */
  #value(arg, value) {
    const [name, , dtype] = arg;
    if (Array.isArray(value)) {
      if (value.length === 2 && value[0] === "slot" && SLOTS.includes(value[1]) && SLOTS.includes(name)) return this.most[value[1]];
      refuse(this.#at(arg), `must be a number${SLOTS.includes(name) ? " or a slot" : ""}, found ${brief(value)}`);
    }
    if (dtype === "f32") {
      if (typeof value !== "number" || !(Math.abs(value) <= F32_LIMIT)) refuse(this.#at(arg), `must be a finite f32, found ${brief(value)}`);
    } else if (!Number.isInteger(value) || value < 0 || value >= INT_LIMIT) {
      refuse(this.#at(arg), `must be an integer from 0 to 2^31 - 1, found ${brief(value)}`);
    }
    return value;
  }

  /** Whether the op's matrices want quantised rows; their shapes are judged. @param {[Arg, any][]} pairs */
  #matrices(pairs) {
    const { layouts } = this.table;
    const found = new Set(pairs.map(([arg, value]) => {
      const weight = this.#weight(this.#at(arg), value, arg[3].map((name) => this.values[name]));
      return layouts.weights[layouts.types[weight.type].layout].quantized;
    }));
    if (found.size > 1) refuse(this.where, `the matrices of ${this.row.name} must all want quantised rows, or none`);
    return found.has(true);
  }

  /** @param {string} where @param {any} value @param {number[]} shape */
  #weight(where, value, shape) {
    if (!(Array.isArray(value) && value.length === 2 && value[0] === "weight")) refuse(where, `must be ["weight", index], found ${brief(value)}`);
    if (!COUNT.test(value[1]) || value[1] >= this.weights.length) refuse(where, `there is no weight ${brief(value[1])}, only ${this.weights.length}`);
    const weight = this.weights[value[1]];
    if (weight.shape.length !== shape.length || shape.some((size, i) => size !== weight.shape[i])) {
      refuse(where, `the weight ${brief(weight.name)} has the shape ${brief(weight.shape)}, but ${brief(shape)} is read`);
    }
    return weight;
  }

  /** @param {Arg} arg @param {any} value @returns {Range[]} none for a constant or a weight */
  #range(arg, value) {
    const [name, kind, dtype, shape, optional] = arg;
    if (optional && value === 0) return [];
    const where = this.#at(arg);
    if (!(Array.isArray(value) && value.length === 2 && typeof value[0] === "string")) {
      refuse(where, `must be [region, offset]${optional ? " or 0" : ""}, found ${brief(value)}`);
    }
    const [region, start] = value;
    if (region === "weight" && kind === "in" && dtype === "f32" && shape.length === 1) {
      this.#weight(where, value, shape.map((size) => this.#size(size)));
      return [];
    }
    const allowed = dtype === "kv" ? ["kv"] : kind === "in" ? ["arena", "state", "constants"] : ["arena", "state"];
    if (!allowed.includes(region)) refuse(where, `must lie in ${allowed.join(" or ")}, found ${brief(value)}`);
    const { size, stride } = this.#extent(where, arg);
    inside(where, region, start, size, this.regions);
    return region === "constants" ? [] : [{ region, start, end: start + size, writes: kind !== "in", key: stride ? `${start}/${stride}` : "", arg: name }];
  }

  #size(/** @type {string | number} */ size) { return typeof size === "string" ? this.values[size] : size; }

  /** Bytes from the offset on, and the stride of private copies. @param {string} where @param {Arg} arg */
  #extent(where, [, , dtype, shape]) {
    const dims = shape.map((size) => this.#size(size));
    if (dtype === "kv") {
      if (this.values.kv_type >= KV.length) refuse(where, `there is no kv_type ${this.values.kv_type}`);
      return { size: dims[0] * pageBytes(this.table, this.values), stride: 0 };
    }
    const quantised = dtype === "q8" || (dtype === "rows" && this.quantised);
    const stride = quantised || dtype === "rows" ? this.values.stride : 0;
    if (!quantised) {
      if (stride) refuse(where, `rows that are not quantised have stride 0, found ${stride}`);
      return { size: 4 * product(dims), stride };
    }
    const { rows, columns, bytes } = this.table.layouts.quantizedRow;
    if (dims[1] % columns) refuse(where, `quantised rows have a multiple of ${columns} values, found ${dims[1]}`);
    const one = Math.ceil(dims[0] / rows) * (dims[1] / columns) * bytes;
    if (!stride) return { size: one, stride };
    if (stride % 16 || stride < one) refuse(where, `stride must be a multiple of 16 and at least the ${one} bytes of one copy, found ${stride}`);
    return { size: (this.table.threads - 1) * stride + one, stride };
  }
}

/** Bytes of one page of K or of V. @param {Table} table @param {Record<string, number>} values */
export function pageBytes({ kvBits }, { kv_heads: heads, page, head_dim: width, kv_type: type }) {
  return heads * page * (Math.floor((width * kvBits[type]) / 8) + (type ? 4 : 0));
}

/** Whether two accesses could be of one byte by two threads, one of them writing. @param {Range} a @param {Range} b */
function overlap(a, b) {
  if ((!a.writes && !b.writes) || a.region !== b.region || (a.key && a.key === b.key)) return false;
  return a.start < b.end && b.start < a.end;
}

/** What may not be touched otherwise before the next barrier, once this call has run. @param {Call} call @param {Range[]} pending @param {number} sync */
function meet({ where, row, ranges }, pending, sync) {
  const allowed = Object.hasOwn(IN_PLACE, row.name) ? IN_PLACE[row.name] : [];
  ranges.forEach((mine, i) => {
    for (const other of ranges.slice(0, i)) {
      const same = mine.start === other.start && mine.end === other.end && mine.writes !== other.writes;
      if (overlap(mine, other) && !(same && (allowed.includes(mine.arg) || allowed.includes(other.arg)))) {
        refuse(where, `${mine.arg} and ${other.arg} overlap, and one of them is written`);
      }
    }
    if (pending.some((other) => overlap(mine, other))) {
      refuse(where, "touches what another thread may still be using; a barrier (sync) is missing before it");
    }
  });
  const now = sync ? [] : [...pending, ...ranges];
  if (now.length > MOST.pending) refuse(where, `more than ${MOST.pending} arrays without a barrier (sync)`, ProgramTooLarge);
  return now;
}
