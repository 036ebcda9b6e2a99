/**
 * Where everything lies in the engine's memory: planned once, from the Program, before anything is allocated. What is added later lies above, in
 * blocks of a heap, for which memory grows. Pure but for `sharedMemory` and `growTo`; runs in a worker and in Node.
 */
import { ModelTooLarge } from "../../sdk/errors.js";
import { CONTROL } from "./abi.js";

/** What 32-bit WebAssembly can address, less one page: engines refuse the last. */
export const LIMIT = 2 ** 32 - 65536;
const WASM_PAGE = 65536;
const STACK = 131072;
/** Bytes read and repacked at once; each thread has two such buffers. */
const STAGING = 1 << 20;
const align = (/** @type {number} */ n) => Math.ceil(n / 64) * 64;

/**
 * @typedef {object} Placed a weight
 * @property {number} address @property {number} bytes @property {string} layout @property {number} rows @property {number} columns
 *
 * @typedef {object} Plan addresses
 * @property {number} control @property {number[]} stacks tops, of the threads from 1 on @property {number} program @property {number} probe
 * @property {{constants: number, arena: number, kv: number, state: number}} regions @property {Placed[]} weights
 * @property {number} staging lies over arena, cache and state, which are empty while weights come: two buffers of `stagingBytes` for each thread @property {number} stagingBytes
 * @property {number} end @property {{weights: number, kv: number, arena: number}} bytes
 */

/**
 * @param {any} program a Program @param {any} table the module's `edgenet.lm` section @param {{base: number, threads: number}} options `base`: the module's heap base
 * @returns {Plan} @throws {ModelTooLarge} with the numbers
 */
export function planMemory(program, table, { base, threads }) {
  let end = align(base);
  const place = (/** @type {number} */ bytes) => {
    const address = end;
    end = align(end + bytes);
    return address;
  };
  const records = codeBytes(program);
  const control = place(CONTROL.bytes);
  const stacks = Array.from({ length: threads - 1 }, () => place(STACK) + STACK);
  const [code, probe] = [place(records), place(records)];
  const constants = place(program.regions.constants);
  const weights = program.weights.map((/** @type {any} */ weight) => {
    const shape = placedShape(weight, table);
    return { ...shape, address: place(shape.bytes) };
  });
  const stagingBytes = Math.max(STAGING, ...program.weights.map((/** @type {any} */ weight, /** @type {number} */ i) => groupBytes(weight, weights[i], table)));
  const staging = end;
  const [arena, kv, state] = [program.regions.arena, program.regions.kv, program.regions.state ?? 0].map(place);
  end = Math.max(end, align(staging + 2 * threads * stagingBytes));
  const bytes = { weights: weights.reduce((/** @type {number} */ sum, /** @type {Placed} */ weight) => sum + weight.bytes, 0), kv: program.regions.kv, arena: program.regions.arena };
  requireFit(program, end, bytes);
  return { control, stacks, program: code, probe, regions: { constants, arena, kv, state }, weights, staging, stagingBytes, end, bytes };
}

/** Bytes of a Program's records and their header, at most. @param {any} program @returns {number} */
export const codeBytes = ({ code }) => 4 * (2 + code.reduce((/** @type {number} */ sum, /** @type {any[]} */ [, args]) => sum + 3 + 2 * args.length, 0));

/** A weight in the engine's layout; one of a single dimension is f32. @param {any} weight @param {any} table */
function placedShape({ shape, type }, { layouts }) {
  const [rows, columns] = shape.length === 1 ? [1, shape[0]] : shape;
  const layout = shape.length === 1 ? "f32" : layouts.types[type].layout;
  const form = layouts.weights[layout];
  return { layout, rows, columns, bytes: Math.ceil(rows / form.rows) * Math.ceil(columns / form.columns) * form.bytes };
}

/** Bytes in the file of the rows that can only be repacked together. @param {any} weight @param {Placed} placed @param {any} table */
const groupBytes = (weight, { rows, layout }, { layouts }) => align(Math.min(rows, layouts.weights[layout].rows) * (weight.bytes / rows));

/** @param {any} program @param {number} needed @param {{weights: number, kv: number, arena: number}} bytes */
function requireFit({ name, capacity }, needed, { weights, kv, arena }) {
  if (needed <= LIMIT) return;
  throw new ModelTooLarge(`${name} needs ${needed} bytes of engine memory (weights ${weights}, cache ${kv} for a context of ${capacity.context}, work ${arena}); WebAssembly has ${LIMIT}. Take a smaller quantization, or a smaller context.`, { needed, limit: LIMIT, weights, kv, arena });
}

/** A shared memory for a module that imports one; it grows to its size once the module has said where its own data end. */
export const sharedMemory = () => new WebAssembly.Memory({ initial: 32, maximum: LIMIT / WASM_PAGE, shared: true });

/** @param {WebAssembly.Memory} memory @param {number} bytes @throws {ModelTooLarge} the browser gives no more */
export function growTo(memory, bytes) {
  const missing = Math.ceil((bytes - memory.buffer.byteLength) / WASM_PAGE);
  if (missing <= 0) return;
  try {
    memory.grow(missing);
  } catch (error) {
    throw new ModelTooLarge(`The engine needs ${bytes} bytes of memory and the browser gave less (${error.message}). Close other tabs, or take a smaller model.`, { needed: bytes });
  }
}

/** Memory in blocks that come and go, at multiples of 64 above `base`: a new one lies at the lowest place where it fits. */
export class Heap {
  /** @type {Map<number, number>} address → end */ #blocks = new Map();

  /** @param {number} base */
  constructor(base) {
    this.base = align(base);
  }

  /** Behind the last block. */
  get end() { return Math.max(this.base, ...this.#blocks.values()); }

  /** Bytes of all blocks. */
  get bytes() { return [...this.#blocks].reduce((sum, [start, end]) => sum + end - start, 0); }

  /** @param {number} bytes of a block of at least one line @returns {number} its address */
  take(bytes) {
    const size = align(Math.max(bytes, 1));
    let at = this.base;
    for (const [start, end] of [...this.#blocks].sort(([a], [b]) => a - b)) {
      if (start - at >= size) break;
      at = end;
    }
    this.#blocks.set(at, at + size);
    return at;
  }

  /** The block is free. @param {number} address */
  give(address) {
    this.#blocks.delete(address);
  }
}
