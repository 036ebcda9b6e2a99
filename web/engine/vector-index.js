/**
 * Exact nearest rows by cosine: all rows in one WebAssembly memory, compared by the engine's kernels. Engine worker and Node.
 * Rows are scaled to length 1 when they come in. Nothing is approximate, nothing is kept beyond this worker.
 */
import { AllocationFailed, DocumentNotFound, InvalidOption, NotFinite, OutputNotFinite, WrongLength } from "../sdk/errors.js";
import { KernelMemory } from "./kernel-memory.js";

/** Rows that memory grows by at once. */
const BLOCK = 1024;
export const MAX_K = 1024;
const MAX_RANK = 16;

/** @typedef {{id: string, slots: number[]}} Entry slots[row] is where the row lies */

export class VectorIndex {
  /** @type {Map<string, Entry>} */ #entries = new Map();
  /** Slot → whose row it is. @type {{entry: Entry, row: number}[]} */ #owners = [];
  #rank = 0;
  #alpha = 0;

  /** @param {import("./kernels/host.js").KernelHost} host a fresh one, for this index alone @param {number} dimensions */
  constructor(host, dimensions) {
    this.dimensions = dimensions;
    const d = dimensions;
    this.kernels = new KernelMemory(host);
    this.at = this.kernels.place({ query: d, moved: d, hidden: MAX_RANK, a: MAX_RANK * d, b: MAX_RANK * d, index: MAX_K, score: MAX_K });
    this.rows = this.kernels.end;
  }

  /** Rows held. */
  get size() { return this.#owners.length; }

  /** Bytes of WebAssembly memory. */
  get memory() { return this.kernels.bytes; }

  /**
   * Takes n rows in place of those of `id`, all or none.
   * @param {string} id @param {Float32Array} vectors n×d; n may be 0
   * @throws WrongLength, NotFinite, AllocationFailed; then nothing has changed
   */
  put(id, vectors) {
    const d = this.dimensions;
    if (vectors.length % d) throw new WrongLength(`Rows of this index have ${d} numbers; ${vectors.length} numbers are no whole rows.`, { dimensions: d });
    const count = vectors.length / d;
    const first = this.size;
    this.#reserve(first + count);
    const x = this.#address(first);
    this.kernels.f32(x, vectors.length).set(vectors);
    if (count && this.kernels.call("normalize", { x, y: x, rows: count, d })) throw new NotFinite(`The vectors of "${id}" hold NaN or an infinity; the index is as before.`, { id });
    this.delete(id); // fills its holes from the end, so the new rows move down behind what is left
    const start = this.size;
    this.#move(first, start, count);
    const entry = { id, slots: Array.from({ length: count }, (_, row) => start + row) };
    for (let row = 0; row < count; row++) this.#owners.push({ entry, row });
    this.#entries.set(id, entry);
  }

  /** @param {string} id @returns {boolean} whether it was there */
  delete(id) {
    const entry = this.#entries.get(id);
    if (!entry) return false;
    this.#entries.delete(id);
    for (const slot of [...entry.slots].sort((a, b) => b - a)) this.#fill(slot);
    return true;
  }

  clear() {
    this.#entries.clear();
    this.#owners = [];
  }

  /** Copies of an id's rows, or of one of them. @param {string} id @param {number} [row] @returns {Float32Array} n×d */
  get(id, row) {
    const entry = this.#entries.get(id);
    const slots = row === undefined ? entry?.slots : entry?.slots.slice(row, row + 1);
    if (!slots || (row !== undefined && !slots.length)) throw new DocumentNotFound(`The index has no ${row === undefined ? "" : `row ${row} of `}"${id}".`, { id, row });
    return this.#copy(slots);
  }

  /**
   * What queries go through: normalise(x + alpha (x A) B). Null for nothing.
   * @param {{A: Float32Array, B: Float32Array, alpha: number} | null} adapter A d×r, B r×d, row by row
   */
  setAdapter(adapter) {
    this.#rank = VectorIndex.checkAdapter(adapter, this.dimensions);
    if (!adapter) return;
    const { A, B, alpha } = adapter;
    const [d, r] = [this.dimensions, this.#rank];
    const a = this.kernels.f32(this.at.a, r * d); // the kernel wants A transposed, r×d
    for (let k = 0; k < r; k++) for (let i = 0; i < d; i++) a[k * d + i] = A[i * r + k];
    this.kernels.f32(this.at.b, r * d).set(B);
    this.#alpha = alpha;
  }

  /**
   * The adapter's rank, 0 for none. @param {{A: Float32Array, B: Float32Array, alpha: number} | null} adapter @param {number} d
   * @throws WrongLength, NotFinite
   */
  static checkAdapter(adapter, d) {
    if (!adapter) return 0;
    const { A, B, alpha } = adapter;
    const r = A.length / d;
    if (!Number.isInteger(r) || r < 1 || r > MAX_RANK || B.length !== A.length) {
      throw new WrongLength(`An adapter for ${d} dimensions needs A of d×r and B of r×d numbers with r from 1 to ${MAX_RANK}; got ${A.length} and ${B.length}.`, { dimensions: d });
    }
    if (!Number.isFinite(alpha) || !A.every(Number.isFinite) || !B.every(Number.isFinite)) throw new NotFinite("The adapter holds NaN or an infinity; the one before stays.", {});
    return r;
  }

  /**
   * The k best rows by cosine, best first.
   * @param {Float32Array} vector d @param {number} k 1 to MAX_K @param {boolean} adapt
   * @returns {{results: {id: string, row: number, score: number}[], vector: Float32Array}} `vector`: the query of length 1 before the adapter
   */
  search(vector, k, adapt = true) {
    if (!Number.isInteger(k) || k < 1 || k > MAX_K) throw new InvalidOption(`k must be a whole number from 1 to ${MAX_K}, got ${k}.`, { k });
    const q = this.#query(vector);
    const base = this.kernels.f32(this.at.query, this.dimensions).slice();
    const best = Math.min(k, this.size);
    if (!best) return { results: [], vector: base };
    const from = adapt && this.#rank ? this.#adapted() : q;
    this.kernels.run("topk_dot", { m: this.rows, q: from, index: this.at.index, score: this.at.score, rows: this.size, d: this.dimensions, k: best });
    const slots = [...this.kernels.u32(this.at.index, best)];
    const scores = this.kernels.f32(this.at.score, best);
    return { results: slots.map((slot, i) => this.#hit(slot, scores[i])), vector: base };
  }

  /** Rows of hits, k×d. @param {{id: string, row: number}[]} hits */
  vectorsOf(hits) {
    return this.#copy(hits.map(({ id, row }) => /** @type {Entry} */ (this.#entries.get(id)).slots[row]));
  }

  /** @param {Float32Array} vector @returns {number} address of the query, scaled to length 1 */
  #query(vector) {
    const d = this.dimensions;
    if (vector.length !== d) throw new WrongLength(`A query has ${d} numbers here, got ${vector.length}.`, { dimensions: d });
    this.kernels.f32(this.at.query, d).set(vector);
    if (this.kernels.call("normalize", { x: this.at.query, y: this.at.query, rows: 1, d })) throw new NotFinite("The query vector holds NaN or an infinity.", {});
    return this.at.query;
  }

  /** @returns {number} address of the adapted query */
  #adapted() {
    const { query, a, b, moved, hidden } = this.at;
    const d = this.dimensions;
    const code = this.kernels.call("microlora_forward", { x: query, a, b, y: moved, h: hidden, d, r: this.#rank, scale: this.#alpha, residual: 1 })
      || this.kernels.call("normalize", { x: moved, y: moved, rows: 1, d });
    if (code) throw new OutputNotFinite("The adapter moves this query out of range. Reset what was taught, or search with adapter: false.", { returned: code });
    return moved;
  }

  /** @param {number} slot @param {number} score */
  #hit(slot, score) {
    const { entry, row } = this.#owners[slot];
    return { id: entry.id, row, score };
  }

  /** @param {number} slot */
  #address(slot) { return this.rows + slot * this.dimensions * 4; }

  /** @param {number[]} slots */
  #copy(slots) {
    const d = this.dimensions;
    const out = new Float32Array(slots.length * d);
    slots.forEach((slot, i) => out.set(this.kernels.f32(this.#address(slot), d), i * d));
    return out;
  }

  /** Puts the last row into a hole. @param {number} slot */
  #fill(slot) {
    const last = this.#owners.pop();
    const from = this.size;
    if (!last || slot === from) return;
    this.#move(from, slot, 1);
    this.#owners[slot] = last;
    last.entry.slots[last.row] = slot;
  }

  /** @param {number} from @param {number} to @param {number} count rows */
  #move(from, to, count) {
    this.kernels.u8().copyWithin(this.#address(to), this.#address(from), this.#address(from + count));
  }

  /** @param {number} rows */
  #reserve(rows) {
    const bytes = Math.ceil(rows / BLOCK) * BLOCK * this.dimensions * 4;
    if (!this.kernels.reserve(this.rows + bytes)) {
      throw new AllocationFailed(`The index has no room for ${rows} rows of ${this.dimensions}: this browser gives no more memory. Close other tabs, or index less.`, { rows });
    }
  }
}
