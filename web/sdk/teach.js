/**
 * Teaching a session's search from marks. Page. Python decides what is learned; this boots it when needed, brings it the vectors, applies
 * the adapter it answers, and keeps everything in this origin's IndexedDB. Several tabs take turns and learn on top of each other's marks.
 */
import { get, set } from "idb-keyval";
import { durableStore } from "../loader/durable.js";
import { BackupInvalid, DocumentNotFound } from "./errors.js";

const DATABASE = "edgenet-teach-v1";
/** Results beside the marked one that Python compares it with; the Teacher keeps the first twelve. */
const RIVALS = 13;
/** How the engine refuses an adapter that is damaged; anything else is the engine's own trouble. */
const BAD_ADAPTER = new Set(["wrong_length", "not_finite", "internal"]);

/**
 * @typedef {{n: number, query: string, id: string, row: number, relevant: boolean}} Mark
 * @typedef {{rank: number, alpha: number, norm: number}} AdapterFigures `norm`: Frobenius norm of alpha A B
 * @typedef {object} Report of one mark
 * @property {number} n @property {number} beforeRank @property {number} afterRank 1 is best, among the marked passage and its rivals
 * @property {number} candidates @property {boolean} held @property {number[]} unmet @property {number | null} replaced
 * @property {string} message @property {number} milliseconds @property {number} steps @property {number} lossBefore @property {number} lossAfter
 * @typedef {{marks: Mark[], unmet: number[], adapter: AdapterFigures | null, report?: Report}} TeachState
 * @typedef {{revision: string, data: string, marks: any[], unmet: number[], adapter: (AdapterFigures & {A: Float32Array, B: Float32Array}) | null}} Kept
 */

export class Teach {
  #session;
  #save;
  /** Revision last read from IndexedDB, usable or not. @type {string | null} */ #revision = null;
  /** What is known now; the copy in IndexedDB may be newer. @type {Kept | null} */ #kept = null;
  /** Which Python, and the revision that it holds. @type {string | null} */ #inPython = null;
  /** @type {ReturnType<typeof durableStore> | null} */ #store = null;

  /** @param {import("./embedding-session.js").EmbeddingSession} session @param {{save: boolean}} options */
  constructor(session, { save }) {
    this.#session = session;
    this.#save = save;
    this.key = `${session.id}@${session.version}`;
    this.lock = `edgenet-teach:${this.key}`;
  }

  /** Applies what was taught before; no Python. Called by `load`. What is damaged or out of reach is said; the model opens without it. */
  async restore() {
    const kept = await this.#read().catch((error) => this.#damaged(error));
    if (!kept) return;
    this.#kept = await this.#applied(kept);
    if (!this.#kept?.adapter) return;
    this.#session.notice("teaching_restored", `What was taught before (${this.#kept.marks.length} marks) is applied again.`);
  }

  /** Boots Python ahead of time. @param {{signal?: AbortSignal, onProgress?: (event: any) => void}} [options] */
  async start({ signal, onProgress } = {}) {
    await this.#session.askAny("python.boot", {}, { signal, onEvent: (event) => event?.phase && onProgress?.({ name: this.#session.id, ...event }) });
  }

  /**
   * Learns from one mark. @param {{query: string, id: string, row?: number, relevant: boolean, signal?: AbortSignal}} mark
   * @returns {Promise<TeachState>} with `report`
   * @throws DocumentNotFound, EmptyText; then nothing has changed
   */
  async mark({ query, id, row = 0, relevant, signal }) {
    const { results, vector, vectors } = await this.#session.ask("index.search", { text: query, k: RIVALS, adapter: true, withVectors: true }, { signal });
    const marked = await this.#session.ask("index.get", { id: String(id), row }, { signal });
    const d = this.#session.dimensions;
    const rivals = results.map((/** @type {any} */ hit, /** @type {number} */ i) => ({ name: passageName(hit.id, hit.row), vector: vectors.subarray(i * d, (i + 1) * d) }))
      .filter((/** @type {any} */ { name }) => name !== passageName(id, row));
    return this.#change("mark", {
      query, query_vector: vector, passage: passageName(id, row), passage_vector: marked.vectors, relevant,
      rivals: concat(rivals.map((/** @type {any} */ r) => r.vector), d), rival_ids: rivals.map((/** @type {any} */ r) => r.name),
    }, signal);
  }

  /** Takes back the last mark, or number `n`. @param {number} [n] @returns {Promise<TeachState>} @throws NothingToUndo */
  undo(n) { return this.#change("undo", n === undefined ? {} : { n }); }

  /** Forgets every mark. @returns {Promise<TeachState>} */
  reset() { return this.#change("reset", {}); }

  /** Drops the marks on passages of documents that were deleted; without Python when there are none. @param {string[]} ids @returns {Promise<TeachState>} */
  async forget(ids) {
    const gone = new Set(ids.map(String));
    await this.#fresh();
    const names = [...mentioned(this.#kept?.data)].filter((name) => gone.has(passageOf(name).id));
    return names.length ? this.#change("forget", { passages: names }) : this.state();
  }

  /** What is learned now; no Python. @returns {TeachState} */
  state() {
    const { marks = [], unmet = [], adapter = null } = this.#kept ?? {};
    return {
      marks: marks.map(({ passage, ...mark }) => ({ ...mark, ...passageOf(passage) })),
      unmet: [...unmet],
      adapter: adapter && { rank: adapter.rank, alpha: adapter.alpha, norm: adapter.norm },
    };
  }

  /** Everything learned as one file, null when there is nothing; no Python. @returns {Promise<Uint8Array | null>} */
  async export() {
    await this.#fresh();
    return this.#kept?.marks.length ? new TextEncoder().encode(this.#kept.data) : null;
  }

  /** Puts an export back in place of what is there. @param {Uint8Array} bytes @returns {Promise<TeachState>} @throws BackupInvalid; then nothing has changed */
  async import(bytes) {
    let data;
    try {
      data = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      throw new BackupInvalid("What was taught cannot be read: the file is not text. Nothing was changed.", {});
    }
    return this.#change("import", { data });
  }

  /** Ends Python and gives its memory back; the adapter stays applied. */
  async stop() {
    this.#inPython = null;
    await this.#session.askAny("hub.stop", { worker: "python" });
  }

  /**
   * One change under the lock: newest state in, Python's answer applied and kept.
   * @param {string} kind @param {any} args @param {AbortSignal} [signal] @returns {Promise<TeachState>}
   */
  async #change(kind, args, signal) {
    return withLock(this.lock, async () => {
      const instance = await this.#opened(signal);
      const { report, ...learned } = await this.#python(kind, args, signal);
      await this.#keep(learned);
      this.#inPython = `${instance}:${this.#kept?.revision}`;
      return { ...this.state(), ...(report && { report: camel(report) }) };
    });
  }

  /** Python holds the newest state afterwards, also after it died or another tab taught. @param {AbortSignal} [signal] @returns {Promise<string>} which Python */
  async #opened(signal) {
    await this.#fresh();
    const wanted = this.#kept?.revision ?? "";
    const { instance } = await this.#session.askAny("python.boot", {}, { signal });
    if (this.#inPython !== `${instance}:${wanted}`) await this.#python("open", { dim: this.#session.dimensions, data: this.#kept?.data ?? null }, signal);
    return instance;
  }

  /** @param {string} kind @param {any} args @param {AbortSignal} [signal] */
  #python(kind, args, signal) {
    this.#inPython = null; // until the answer is kept, nobody knows what Python holds
    return this.#session.askAny(`python.teach.${kind}`, { model: this.key, ...args }, { signal });
  }

  /** @param {any} learned what Python answered */
  async #keep(learned) {
    const kept = { ...learned, revision: crypto.randomUUID() };
    if (this.#save) await set(this.key, kept, this.#database()); // before it is applied: what cannot be kept must not be in force
    await this.#session.setAdapter(kept.adapter);
    [this.#kept, this.#revision] = [kept, kept.revision];
  }

  /** Takes over what another tab kept. */
  async #fresh() {
    const kept = await this.#read();
    if (!kept || kept.revision === this.#revision) return;
    this.#kept = await this.#applied(kept);
  }

  /** What of kept state can be used, its adapter applied. @param {any} kept @returns {Promise<Kept | null>} */
  async #applied(kept) {
    this.#revision = kept.revision ?? null;
    if (!Array.isArray(kept.marks) || typeof kept.data !== "string") return this.#damaged(new TypeError("it is not a record of marks"));
    try {
      if (kept.adapter || this.#session.adapter) await this.#session.setAdapter(kept.adapter);
      return kept;
    } catch (error) {
      if (!BAD_ADAPTER.has(/** @type {any} */ (error).code)) throw error;
      this.#damaged(error);
      return { ...kept, adapter: null };
    }
  }

  /** @param {any} error */
  #damaged(error) {
    this.#session.notice("teaching_damaged", `What was taught before cannot be applied, and searches go without it: ${error.message} Reset what was taught, or import an export of it.`);
    return null;
  }

  /** @returns {Promise<Kept | null>} */
  async #read() {
    return this.#save ? (await get(this.key, this.#database())) ?? null : this.#kept;
  }

  #database() {
    return (this.#store ??= durableStore(DATABASE, "states"));
  }
}

/** A passage's name for Python: reversible whatever the id holds. @param {string} id @param {number} row */
const passageName = (id, row) => `${row}:${id}`;

/** @param {string} name */
function passageOf(name) {
  const colon = name.indexOf(":");
  return { id: name.slice(colon + 1), row: Number(name.slice(0, colon)) };
}

/** Names of all passages that kept data mention. @param {string} [data] */
const mentioned = (data) => Object.keys(data ? JSON.parse(data).passages : {});

/** @param {Float32Array[]} rows @param {number} d */
function concat(rows, d) {
  const out = new Float32Array(rows.length * d);
  rows.forEach((row, i) => out.set(row, i * d));
  return out;
}

/** before_rank → beforeRank. @param {Record<string, any>} report @returns {any} */
const camel = (report) => Object.fromEntries(Object.entries(report).map(([key, value]) => [key.replace(/_(.)/g, (_, c) => c.toUpperCase()), value]));

/** @template T @param {string} name @param {() => Promise<T>} work @returns {Promise<T>} */
const withLock = (name, work) => (navigator.locks ? navigator.locks.request(name, work) : work());
