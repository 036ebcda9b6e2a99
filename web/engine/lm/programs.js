/**
 * The Programs of one engine: the loaded one, and those added beside it over its weights. Each has a block of memory of its own, those added together
 * share one state. What is dropped makes room for what comes next. Runs in a worker and in Node.
 */
import { InvalidOption, InvalidProgram, ModelTooLarge, WrongLength } from "../../sdk/errors.js";
import { fromBase64 } from "../../trust/bytes.js";
import { brief } from "../../trust/fields.js";
import { judgeBeside, stateBytes } from "./beside.js";
import { Heap, LIMIT, codeBytes, growTo } from "./memory.js";
import { SLOTS, changesState, lower } from "./program.js";

const VIEWS = { i32: Int32Array, u32: Uint32Array, f32: Float32Array };
const align = (/** @type {number} */ n) => Math.ceil(n / 64) * 64;

/**
 * @typedef {Record<string, number>} Regions addresses; no state: 0
 * @typedef {object} Held a Program in the engine
 * @property {any} program @property {number} code address of its records @property {Regions} regions @property {Record<string, any>} views its buffers, at the largest sizes
 * @property {Record<string, number>} sizes of the last run @property {boolean} changes a run changes its states
 */

export class Programs {
  /** @type {Map<string | undefined, Held>} the loaded one under undefined */ #held = new Map();

  /** @param {{program: any, table: any, memory: WebAssembly.Memory, plan: import("./memory.js").Plan}} engine */
  constructor({ program, table, memory, plan }) {
    this.table = table;
    this.memory = memory;
    this.plan = plan;
    this.heap = new Heap(plan.end);
    this.#hold(undefined, program, { code: plan.program, regions: plan.regions });
    this.place(undefined, program.weights.map((/** @type {any} */ _weight, /** @type {number} */ index) => ({ index, offset: 0 })));
  }

  /** @param {string} [name] the loaded one when left out @returns {Held} @throws {InvalidOption} */
  of(name) {
    const held = this.#held.get(name);
    if (held) return held;
    throw new InvalidOption(`There is no Program ${brief(name)} in this engine; it holds ${[...this.#held.keys()].filter(Boolean).join(", ") || "none but the loaded one"}. Add it first; an engine that was replaced has lost what was added.`, { option: "program" });
  }

  /**
   * All or none. @param {Record<string, any>} programs documents by name @throws what `judgeBeside` throws; ModelTooLarge
   */
  add(programs) {
    const judged = judgeBeside(programs, this.of().program, this.table, (name) => this.#held.has(name));
    const all = Object.values(judged).map(({ program }) => program);
    const blocks = this.#take(all);
    for (const [i, [name, { program, slices }]] of Object.entries(judged).entries()) {
      this.#hold(name, program, blocks[i]);
      const { arena, state } = blocks[i].regions;
      for (const [address, size] of [[arena, program.regions.arena], [state, stateBytes(all)]]) new Uint8Array(this.memory.buffer, address, size).fill(0);
      this.place(name, slices);
    }
  }

  /** Blocks for Programs, and for the state they share, in a memory that has grown to hold them. @param {any[]} programs */
  #take(programs) {
    const { heap, plan: { regions: { kv } } } = this;
    /** @type {number[]} */ const taken = [];
    const take = (/** @type {number} */ size) => { taken.push(heap.take(size)); return /** @type {number} */ (taken.at(-1)); };
    try {
      const size = stateBytes(programs);
      const state = size && take(size);
      const blocks = programs.map((program) => {
        const constants = align(codeBytes(program));
        const arena = constants + align(program.regions.constants);
        const code = take(arena + program.regions.arena);
        return { code, regions: { constants: code + constants, arena: code + arena, kv, state } };
      });
      if (heap.end > LIMIT) throw new ModelTooLarge(`The Programs need ${heap.end} bytes of engine memory beside the model; WebAssembly has ${LIMIT}. Take fewer rows, a smaller rank, or a smaller quantization.`, { needed: heap.end, limit: LIMIT });
      this.#grow(heap.end);
      return blocks;
    } catch (error) {
      for (const address of taken) heap.give(address);
      throw error;
    }
  }

  /** A memory that grew has another buffer: the old views are of no use. @param {number} end */
  #grow(end) {
    const { buffer } = this.memory;
    growTo(this.memory, end);
    if (this.memory.buffer !== buffer) for (const held of this.#held.values()) held.views = this.#views(held);
  }

  /** Frees added ones. @param {string[]} names @throws {InvalidOption} */
  drop(names) {
    const going = new Map(names.map((name) => [name, this.of(name || "")])); // the loaded one goes with the engine
    for (const [name, { code, regions: { state } }] of going) {
      this.#held.delete(name);
      this.heap.give(code);
      if (state && ![...this.#held.values()].some(({ regions }) => regions.state === state)) this.heap.give(state);
    }
  }

  /** Nothing is held any more, nor the memory. */
  clear() {
    this.#held.clear();
    this.memory = /** @type {any} */ (null);
  }

  /** @param {string | undefined} name @param {any} program @param {{code: number, regions: Regions}} at */
  #hold(name, program, at) {
    const held = { ...at, program, views: {}, sizes: {}, changes: changesState(program, this.table) };
    held.views = this.#views(held);
    this.#held.set(name, held);
  }

  /** Constants and records, where they lie. @param {string | undefined} name @param {import("./beside.js").Slice[]} slices */
  place(name, slices) {
    const { memory: { buffer }, plan: { control, weights }, table } = this;
    const { program, code, regions } = this.of(name);
    new Uint8Array(buffer, regions.constants, program.regions.constants).set(fromBase64(program.constants));
    const addresses = { ...regions, weights: slices.map(({ index, offset }) => weights[index].address + offset) };
    const records = lower(program, table, addresses, slices.map(({ index }) => table.layouts.weights[weights[index].layout].code));
    new Uint32Array(buffer, code, records.length + 1).set([control, ...records]);
  }

  /** @param {{program: any, regions: Regions}} held */
  #views({ program: { buffers, slots }, regions }) {
    return Object.fromEntries(buffers.map((/** @type {any} */ { name, region, offset, dtype, shape }) => {
      const count = shape.reduce((/** @type {number} */ product, /** @type {any} */ size) => product * (slots[size] ?? size), 1);
      return [name, new VIEWS[/** @type {"i32"} */ (dtype)](this.memory.buffer, regions[region] + offset, count)];
    }));
  }

  /** All of a buffer; to be asked for anew after any `add`. @param {string} buffer @param {string} [name] @throws {InvalidProgram | InvalidOption} */
  view(buffer, name) {
    const { views } = this.of(name);
    if (!Object.hasOwn(views, buffer)) throw new InvalidProgram(`There is no buffer ${brief(buffer)}; there are ${Object.keys(views).join(", ")}.`, { buffer });
    return views[buffer];
  }

  /** Sets a buffer or some of its values, from `first` on. @param {string} buffer @param {ArrayLike<number>} array @param {string} [name] @param {number} [first] @throws {WrongLength} */
  write(buffer, array, name, first = 0) {
    const view = this.view(buffer, name);
    if (!(first >= 0 && first + array?.length <= view.length)) throw new WrongLength(`The buffer ${brief(buffer)} holds ${view.length} values, found ${array?.length} from ${first} on.`, { buffer });
    view.set(array, first);
  }

  /** A copy of a buffer, as many rows of it as the last run had. @param {string} buffer @param {string} [name] */
  read(buffer, name) {
    const view = this.view(buffer, name);
    const { program, sizes } = this.of(name);
    const [first] = program.buffers.find((/** @type {any} */ { name: own }) => own === buffer).shape;
    const most = program.slots[first] ?? 1;
    return view.slice(0, (view.length / most) * (sizes[first] ?? most)); // whole rows first: 49 * (1 / 49) is less than 1
  }

  /** A Program with the sizes of its next run. @param {string | undefined} name @param {Record<string, number>} slots what is left out is 0 @throws {InvalidOption} */
  sized(name, slots) {
    const held = this.of(name);
    const wrong = Object.entries(slots).find(([slot, size]) => !SLOTS.includes(slot) || !Number.isInteger(size) || size < 0 || size > held.program.slots[slot]);
    if (wrong) throw new InvalidOption(`A run with ${wrong.map(brief).join(" = ")}: sizes are integers up to ${JSON.stringify(held.program.slots)}.`, { option: "slots" });
    held.sizes = { ...Object.fromEntries(SLOTS.map((slot) => [slot, 0])), ...slots };
    return held;
  }

  /** All bytes of the state that a run may change; none of a Program that changes none. @param {Held} held @returns {Uint8Array} */
  states({ program, regions, changes }) {
    return new Uint8Array(this.memory.buffer, regions.state, changes ? program.regions.state : 0);
  }
}
