/**
 * Marks: what the user called relevant or not, in step with the SDK's `session.teach`. Runs in the page. Python starts at the first mark only.
 * The policy (what is learned from a mark) is Python's; here is what people see: which marks there are and what each one moved.
 */
import { observable } from "../observable.js";
import { moves } from "./moves.js";

const KEEP = "marks"; // settings row: mark number → Story

/** @typedef {{n: number, query: string, id: string, row: number, relevant: boolean}} Mark */
/** @typedef {{name: string, words: string, at: number, moves: {id: string, from: number|null, to: number|null}[], names: Record<string, string>}} Story how it looked when it was made */

export class Teacher extends EventTarget {
  /** @type {import("../observable.js").observable<{phase: "idle"|"starting"|"ready"|"working", marks: Mark[], unmet: number[], adapter: any, progress?: any}>} */
  state = observable({ phase: "idle", marks: [], unmet: [], adapter: null });
  /** @type {Record<number, Story>} */
  stories = {};
  #queue = Promise.resolve();
  #cancel = null;
  /** Whether the marks of earlier visits were read. */
  known = false;

  /** @param {{engine: any, searcher: any, library: any, db: any}} parts */
  constructor(parts) {
    super();
    Object.assign(this, parts);
  }

  /** Reads marks made in earlier visits; needs the session, not Python. */
  async open() {
    this.stories = (await this.db.read("settings", KEEP)) ?? {};
    await this.refresh();
    this.known = true;
  }

  async refresh(state) {
    const { marks, adapter, unmet = [] } = state ?? (await this.engine.session.teach.state());
    this.state.patch({ marks, adapter, unmet });
    return state?.report;
  }

  /** @returns {Mark | undefined} the mark of this passage for this query */
  of(query, id) {
    return this.state.value.marks.findLast((mark) => mark.query === query && mark.id === id);
  }

  /**
   * Marks a passage for the present query; the same mark again takes it back, the opposite replaces it. One after another.
   * @param {{query: string, id: string, row: number, relevant: boolean}} mark
   * @returns {Promise<{story: Story, mark: Mark, report: any} | null>} null when the mark was taken back
   */
  mark(mark) {
    return this.#next(async (teach) => {
      const before = this.searcher.outcome.value.found;
      const earlier = this.of(mark.query, mark.id);
      if (earlier) await this.refresh(await teach.undo(earlier.n));
      const taken = earlier?.relevant === mark.relevant;
      const report = taken ? null : await this.refresh(await teach.mark(mark));
      const after = await this.searcher.again();
      return taken ? null : { ...(await this.#tell(mark, before, after)), report };
    });
  }

  /** Takes one mark back, or the last. @param {number} [n] */
  undo(n) {
    return this.#next(async (teach) => {
      await this.refresh(await teach.undo(n));
      await this.searcher.again();
    });
  }

  reset() {
    return this.#next(async (teach) => {
      await this.refresh(await teach.reset());
      await this.searcher.again();
    });
  }

  /** Drops marks on documents that are gone for good. @param {string[]} ids */
  forget(ids) {
    const used = this.state.value.marks.some((mark) => ids.includes(mark.id));
    return used
      ? this.#next(async (teach) => {
          await this.refresh(await teach.forget(ids));
          await this.searcher.again();
        })
      : Promise.resolve();
  }

  /** Drops marks on all documents that are gone for good since the last time; before `open` it leaves them for later. */
  async forgetPurged() {
    const ids = this.known ? await this.library.purged() : [];
    if (!ids.length) return;
    await this.forget(ids);
    await this.library.forgotten(ids);
  }

  /** @returns {Promise<Uint8Array | null>} null when nothing was taught; needs no Python */
  export() {
    return this.#next((teach) => teach.export(), false);
  }

  /** Replaces what was taught; all or nothing. @param {Uint8Array} data */
  import(data) {
    return this.#next(async (teach) => {
      await teach.import(data);
      await this.refresh();
      await this.searcher.again();
    });
  }

  /** Gives up starting Python. */
  cancel() {
    this.#cancel?.abort();
  }

  /** Runs one change after those before it, with Python started. */
  #next(work, python = true) {
    const result = this.#queue.then(async () => {
      const { teach } = await this.engine.ready();
      if (python && !this.started) await this.#start(teach);
      this.state.patch({ phase: "working" });
      try {
        return await work(teach);
      } finally {
        this.state.patch({ phase: this.started ? "ready" : "idle" });
      }
    });
    this.#queue = result.catch(() => {});
    return result;
  }

  async #start(teach) {
    this.#cancel = new AbortController();
    this.state.patch({ phase: "starting", progress: null });
    try {
      await teach.start({ signal: this.#cancel.signal, onProgress: (progress) => this.state.patch({ progress }) });
      this.started = true;
    } finally {
      if (!this.started) this.state.patch({ phase: "idle" });
    }
  }

  async #tell(wanted, before, after) {
    const mark = this.of(wanted.query, wanted.id);
    const list = moves(before, after);
    const { name, passages } = this.library.get(wanted.id);
    const { start, end } = passages[wanted.row];
    const names = Object.fromEntries(list.map(({ id }) => [id, this.library.all.get(id)?.name ?? "deleted"]));
    const story = {
      name,
      words: (await this.library.text(wanted.id))
        .slice(start, end)
        .replace(/^(#{1,6}|[-*\u2022]) +/gm, "")
        .replace(/\s+/g, " ")
        .slice(0, 200),
      at: Date.now(),
      moves: list,
      names,
    };
    this.stories = {
      ...Object.fromEntries(this.state.value.marks.map(({ n }) => [n, this.stories[n]]).filter(([, kept]) => kept)),
      [mark.n]: story,
    };
    await this.db.write([{ put: "settings", key: KEEP, value: this.stories }]);
    return { story, mark };
  }
}
