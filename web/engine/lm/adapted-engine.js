/**
 * An engine as the scheduler has it, whose rows may each have adapters: a run without any is the plain Program's and costs nothing more, any other
 * the adapted one's. Factors lie in the state `pool`; `table` says where, by site and slot; `mix` how much of each slot a row wants.
 */
import { AdapterPoolFull, ModelInvalid } from "../../sdk/errors.js";
import { placed } from "./adapter-file.js";
import { PoolSpace } from "./pool-space.js";

const ADAPTED = "adapted";
const FORMAT = "edgenet-adapted";
/** Words of the table for one site and slot: offsets of A and B in the pool, the rank (0: none), one to spare. */
const ENTRY = 4;

/**
 * @typedef {object} Adapted what an engine needs to take adapters of its model
 * @property {string} format @property {number} version @property {string} base_id of the model @property {import("./adapter-file.js").Site[]} sites in the order of the table's rows
 * @property {any} program
 *
 * @typedef {object} Resident an adapter, in the pool or not
 * @property {number} slot -1: not there @property {import("./pool-space.js").Stretch | null} stretch @property {{row: number, rank: number, at: number[]}[]} entries offsets from the stretch's beginning
 */

export class AdaptedEngine {
  /** @type {Adapted | null} */ document = null;
  /** @type {PoolSpace} */ #space = new PoolSpace(0, () => {});
  /** @type {(Resident | null)[]} */ #slots = [];
  #ran = "";

  /** @param {import("./engine.js").LanguageEngine} engine */
  constructor(engine) {
    this.engine = engine;
  }

  get capacity() { return this.engine.capacity; }

  get vocabulary() { return this.engine.vocabulary; }

  /** Values of the pool, of them free, and slots. */
  get figures() { return { values: this.#space.values, free: this.#space.free, slots: this.#slots.length }; }

  /** Adds the adapted Program, once. @param {Adapted} document @throws what `engine.add` throws; ModelInvalid */
  async prepare(document) {
    if (this.document) return;
    await this.engine.add({ [ADAPTED]: document.program });
    try {
      const [pool, table, mix] = ["pool", "table", "mix"].map((name) => this.#view(name));
      const slots = mix.length / this.capacity.rows;
      checkDocument(document, table.length / slots / ENTRY);
      this.#slots = Array(slots).fill(null);
      this.#space = new PoolSpace(pool.length, (stretch, from) => this.#move(stretch, from));
      this.document = document;
    } catch (error) {
      this.engine.drop([ADAPTED]);
      throw error;
    }
  }

  /** Puts factors into the pool. @param {Resident} adapter @param {import("./adapter-file.js").Factors} factors @returns {boolean} false: no slot or no room is free */
  place(adapter, factors) {
    const slot = this.#slots.indexOf(null);
    const stretch = slot < 0 ? null : this.#space.take(factors.values);
    if (!stretch) return false;
    const pool = this.#view("pool");
    const places = placed(factors);
    for (const { at, parts } of places) parts.forEach((values, i) => pool.set(values, stretch.offset + at[i]));
    this.#slots[slot] = Object.assign(adapter, { slot, stretch, entries: places.map(({ row, rank, at }) => ({ row, rank, at })) });
    this.#tell(adapter);
    return true;
  }

  /** @param {Resident} adapter */
  remove(adapter) {
    if (adapter.slot < 0) return;
    this.#tell({ ...adapter, entries: adapter.entries.map(({ row }) => ({ row, rank: 0, at: [0, 0] })) });
    this.#slots[adapter.slot] = null;
    this.#space.give(/** @type {import("./pool-space.js").Stretch} */ (adapter.stretch));
    Object.assign(adapter, { slot: -1, stretch: null });
  }

  /** @param {import("./pool-space.js").Stretch} stretch @param {number} from */
  #move(stretch, from) {
    this.#view("pool").copyWithin(stretch.offset, from, from + stretch.size);
    this.#tell(/** @type {Resident} */ (this.#slots.find((adapter) => adapter?.stretch === stretch)));
  }

  /** Writes an adapter's entries of the table. @param {Resident} adapter */
  #tell({ slot, stretch, entries }) {
    const [table, { length }] = [this.#view("table"), this.#slots];
    const { offset } = /** @type {import("./pool-space.js").Stretch} */ (stretch);
    for (const { row, rank, at: [a, b] } of entries) table.set(rank ? [offset + a, offset + b, rank, 0] : [0, 0, 0, 0], (row * length + slot) * ENTRY);
  }

  /** A buffer of the adapted Program; memory may have grown since the last time. @param {string} name @returns {any} */
  #view(name) { return this.engine.view(name, ADAPTED); }

  /** @param {import("./scheduler.js").Batch} batch @returns {Int32Array | null} as `LanguageEngine.run` */
  run(batch) {
    this.#ran = batch.adapters.some((mix) => mix.length) ? ADAPTED : "";
    if (this.#ran) this.#mix(batch);
    return this.engine.run(batch, this.#ran || undefined);
  }

  /** @param {import("./scheduler.js").Batch} batch */
  #mix({ sequences, adapters }) {
    const [mix, { length }] = [this.#view("mix"), this.#slots];
    mix.fill(0, 0, sequences.length * length);
    sequences.forEach((sequence, row) => { for (const { adapter, scale } of adapters[sequence]) mix[row * length + adapter.slot] = scale; });
  }

  /** Logits of the last run's wanted rows, a copy. @param {number} rows */
  logits(rows) { return this.engine.logits(rows, this.#ran || undefined); }
}

/** Whether its sites are those of its Program, which was judged: factors are held against them. @param {any} document @param {number} rows of the table @throws {ModelInvalid} */
function checkDocument({ format, version, sites, base_id, program }, rows) {
  const refuse = (/** @type {string} */ why) => { throw new ModelInvalid(`What the model's engine needs to take adapters is damaged: ${why}. Load the model again.`, {}); };
  if (format !== FORMAT || version !== 1) refuse(`it is "${format}" of version ${version}, not "${FORMAT}" of version 1`);
  if (typeof base_id !== "string" || !Array.isArray(sites) || new Set(sites.map((site) => site?.[0])).size !== rows) refuse("its base_id or its sites cannot be read");
  const ops = program.code.filter((/** @type {any[]} */ [op]) => op === "adapters").map((/** @type {any[]} */ [, args]) => args.slice(6, 9)); // in, out, site
  const wrong = ops.find((/** @type {number[]} */ [width, out, row]) => String(sites[row]?.slice?.(1)) !== String([width, out]));
  if (wrong || sites.length !== rows) refuse("its sites are not those of its Program");
}

/** @param {number} values @param {{values: number, free: number, slots: number}} figures */
export function poolFull(values, { values: all, free, slots }) {
  const [needed, total, left] = [values, all, free].map((count) => `${Math.ceil((4 * count) / 1024)} KiB`);
  return new AdapterPoolFull(`The adapter needs ${needed}; the pool has ${total} in ${slots} slots, ${left} free, and the others are pinned or in use. Unload one, wait for a request to end, or train with a lower rank.`, { needed: 4 * values, bytes: 4 * all, free: 4 * free, slots });
}
