/**
 * The adapters of a loaded model: what was loaded stays known by its id until it is unloaded; the engine's pool is a cache of it. Who was used
 * longest ago leaves the pool where room lacks, never one that is pinned or that a request holds. Worker and Node.
 */
import { AdapterNotFound, InvalidOption, NotSupported } from "../../sdk/errors.js";
import { sha256, toHex } from "../../trust/bytes.js";
import { readFactors } from "./adapter-file.js";
import { AdaptedEngine, poolFull } from "./adapted-engine.js";

/**
 * @typedef {import("./adapted-engine.js").Resident & {id: string, hash: string, bytes: Blob, values: number, rank: number, about: import("./adapter-file.js").Factors["about"],
 *   pinned: boolean, uses: number, used: number}} Adapter `uses`: requests that hold it; `used`: when last
 * @typedef {{id: string, scale: number}} Wish
 * @typedef {{adapter: {slot: number}, scale: number}[]} Mix what a request runs with
 * @typedef {{key: string, mix: Mix, release: () => void}} Held `key`: what the mix changes about numbers; "" for none
 */

export class Adapters {
  /** @type {Map<string, Adapter>} */ #known = new Map();
  /** Unloaded, and held by requests still. @type {Set<Adapter>} */ #leaving = new Set();
  /** @type {Promise<any>} */ #last = Promise.resolve();
  #clock = 0;
  /** @type {import("./adapted-engine.js").Adapted | null} */ #document = null;

  /** @param {() => Promise<import("./adapted-engine.js").Adapted | null>} published the model's own document; asked once it is needed */
  constructor(published) {
    this.published = published;
    /** Given by `renew` before anything else. @type {AdaptedEngine} */ this.engine = /** @type {any} */ (null);
  }

  /** One change at a time; those of the pool wait for no run, for a run never yields. @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  alone(work) {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }

  /**
   * @param {{bytes: Blob | ArrayBuffer | Uint8Array, id?: string, pinned?: boolean, document?: import("./adapted-engine.js").Adapted}} given engine-ready `bytes`; `id`: else the name
   *   in them; one that is taken is replaced; `document`: for a model that was published without
   * @throws InvalidAdapter, AdapterMismatch, AdapterPoolFull, NotSupported
   */
  load({ bytes, id, pinned = false, document }) {
    return this.alone(async () => {
      const adapted = await this.#prepared(document);
      const blob = bytes instanceof Blob ? bytes : new Blob([/** @type {any} */ (bytes)]);
      const data = new Uint8Array(await blob.arrayBuffer());
      const digest = sha256(data); // another thread's work, while this one reads
      const factors = readFactors(data, adapted);
      const [hash, { about, rank, values }] = [toHex(await digest), factors];
      const name = checkId(id ?? about.name);
      const before = this.#known.get(name);
      if (before?.hash === hash) {
        if (before.slot < 0) this.#place(before, factors);
        return describe(Object.assign(before, { pinned, used: ++this.#clock }));
      }
      /** @type {Adapter} */
      const adapter = { id: name, hash, bytes: blob, values, rank, about, pinned, uses: 0, used: ++this.#clock, slot: -1, stretch: null, entries: [] };
      this.#place(adapter, factors, before);
      if (before) this.#forget(before);
      this.#known.set(name, adapter);
      return describe(adapter);
    });
  }

  /** Requests that run with it go on. @param {string} id @throws {AdapterNotFound} */
  unload(id) {
    return this.alone(async () => this.#forget(this.#find(id)));
  }

  /** What is loaded, the one used last first. */
  list() {
    const { values, free, slots } = this.engine.figures;
    const adapters = [...this.#known.values()].sort((a, b) => b.used - a.used).map(describe);
    return { slots, bytes: 4 * values, free: 4 * free, adapters };
  }

  /** Which base the model is, where it was published with what its engine needs to take adapters. @returns {Promise<{base: string | null}>} */
  async base() {
    return { base: (this.#document ?? (await this.published()))?.base_id ?? null };
  }

  /** Holds adapters for a request, in the pool. @param {Wish[]} wishes @returns {Promise<Held>} @throws AdapterNotFound, AdapterPoolFull, InvalidOption */
  async acquire(wishes) {
    const all = wishes.map(({ id, scale }) => ({ adapter: this.#find(id), scale }));
    if (new Set(all.map(({ adapter }) => adapter)).size < all.length) throw new InvalidOption("A request names each adapter once; give one scale for it.", { option: "adapters" });
    const mix = all.filter(({ scale }) => scale !== 0);
    for (const { adapter } of mix) Object.assign(adapter, { uses: adapter.uses + 1, used: ++this.#clock });
    const release = () => { for (const { adapter } of mix.splice(0)) this.#release(adapter); };
    const key = mix.map(({ adapter: { hash }, scale }) => ` ${hash}*${scale}`).sort().join("");
    try {
      if (mix.some(({ adapter }) => adapter.slot < 0)) await this.alone(() => this.#bring(mix.map(({ adapter }) => adapter)));
    } catch (error) {
      release();
      throw error;
    }
    return { key, mix, release };
  }

  /** Goes on with this engine, the first or another: what requests hold is put into its pool. Within `alone`, once there are requests. @param {import("./engine.js").LanguageEngine} engine */
  async renew(engine) {
    this.engine = new AdaptedEngine(engine);
    const all = [...this.#known.values(), ...this.#leaving];
    for (const adapter of all) adapter.slot = -1;
    await this.#bring(all.filter(({ uses }) => uses));
  }

  /** @param {import("./adapted-engine.js").Adapted} [given] */
  async #prepared(given) {
    const document = this.#document ?? given ?? (await this.published());
    if (!document) throw new NotSupported("This model was published without what its engine needs to take adapters, and none was compiled for it.", {});
    await this.engine.prepare(document);
    return (this.#document = document);
  }

  /** @param {Adapter[]} adapters */
  async #bring(adapters) {
    for (const adapter of adapters.filter(({ slot }) => slot < 0)) {
      const [document, data] = [await this.#prepared(), await adapter.bytes.arrayBuffer()];
      this.#place(adapter, readFactors(new Uint8Array(data), document));
    }
  }

  /**
   * @param {Adapter} adapter @param {import("./adapter-file.js").Factors} factors
   * @param {Adapter} [before] what it replaces: pinned or not, it may go
   */
  #place(adapter, factors, before) {
    if (factors.values > this.engine.figures.values) throw poolFull(factors.values, this.engine.figures);
    while (!this.engine.place(adapter, factors)) {
      const spare = [...this.#known.values()].filter((other) => other.slot >= 0 && !other.uses && (!other.pinned || other === before));
      if (!spare.length) throw poolFull(factors.values, this.engine.figures);
      this.engine.remove(spare.reduce((oldest, other) => (other.used < oldest.used ? other : oldest)));
    }
  }

  /** @param {Adapter} adapter */
  #forget(adapter) {
    this.#known.delete(adapter.id);
    if (adapter.uses) this.#leaving.add(adapter);
    else this.engine.remove(adapter);
  }

  /** @param {Adapter} adapter */
  #release(adapter) {
    adapter.uses--;
    if (!adapter.uses && this.#leaving.delete(adapter)) this.engine.remove(adapter);
  }

  /** @param {string} id */
  #find(id) {
    const found = this.#known.get(id);
    if (!found) throw new AdapterNotFound(`No adapter "${String(id).slice(0, 100)}" is loaded; loaded: ${[...this.#known.keys()].join(", ") || "none"}. Load it first.`, { id, loaded: [...this.#known.keys()] });
    return found;
  }
}

/** @param {Adapter} adapter */
const describe = ({ id, hash, values, rank, about, pinned, slot }) => ({ id, hash, bytes: 4 * values, rank, pinned, slot, ...about });

/** @param {any} id @returns {string} */
function checkId(id) {
  if (typeof id !== "string" || !id || id.length > 200) throw new InvalidOption("An adapter's id is a text of 1 to 200 characters.", { option: "id" });
  return id;
}
