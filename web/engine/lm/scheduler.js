/**
 * Continuous batching: many requests, one engine. Every run holds rows of all that are under way: one row of each that decodes, and the
 * prompts share what is left. Between two runs the event loop has its turn. Runs in a worker and in Node; it decides nothing about text.
 *
 * A sequence is its tokens: what the cache holds of them can be dropped at any time and computed anew. So one that must give way for lack of
 * pages, or that meets a broken engine, waits and goes on later, with the same tokens.
 */
import { Disposed, OutputNotFinite } from "../../sdk/errors.js";
import { breather } from "./breath.js";
import { checkPrompt, shifted } from "./prompt.js";
import { rowOf } from "./sampling.js";

/**
 * @typedef {object} Batch one run; row i of all lists belongs together
 * @property {number[]} tokens @property {number[]} positions @property {number[]} sequences index into `pages`
 * @property {number[]} wanted rows whose logits are wanted @property {number[][]} pages of each sequence, in the order of positions
 * @property {{words: Uint32Array, history: number[]}[]} sampling one per wanted row @property {import("./adapters.js").Mix[]} adapters of each sequence
 *
 * @typedef {object} Engine
 * @property {{rows: number, wanted: number, sequences: number, context: number}} capacity @property {number} vocabulary
 * @property {(batch: Batch) => Int32Array | null} run the token picked for each wanted row; null: aborted, and nothing of it counts
 *
 * @typedef {object} Request
 * @property {number[]} tokens the prompt, at least one @property {import("./sampling.js").Options} options @property {Set<number>} eos tokens that end an answer
 * @property {string} key for the pages: weights and adapters @property {import("./adapters.js").Mix} [adapters] @property {number} [keep] leading tokens that a shifted context keeps
 * @property {(token: number) => boolean} onToken true: that is enough @property {(loaded: number, total: number) => void} [onPrefill]
 * @property {AbortSignal} [signal]
 *
 * @typedef {"stop" | "length" | "context" | "abort"} Reason
 * @typedef {object} Outcome
 * @property {Reason} reason @property {{prompt: number, completion: number, cached: number}} usage
 * @property {{prefillMs: number, firstMs: number, decodeMs: number}} timings `firstMs` from the request on, waiting included
 */

class Sequence {
  /** @type {import("./pages.js").Lease | null} */ lease = null;
  drawn = 0;
  cached = 0;
  began = 0;
  first = 0;

  /** @param {Request} request @param {number} asked when @param {(outcome: Outcome) => void} resolve @param {(error: Error) => void} reject */
  constructor(request, asked, resolve, reject) {
    this.request = request;
    this.asked = asked;
    this.resolve = resolve;
    this.reject = reject;
    this.tokens = [...request.tokens];
  }

  get computed() { return this.lease?.length ?? 0; }

  get left() { return this.tokens.length - this.computed; }

  drop() {
    this.lease?.close();
    this.lease = null;
  }

  /** Forgets the earliest tokens, so that half the context is free; the rest is computed anew from position 0. @param {number} context */
  shift(context) {
    this.drop();
    this.tokens = shifted(this.tokens, this.request.keep ?? 0, context);
  }
}

export class Scheduler {
  /** @type {Sequence[]} oldest first */ #active = [];
  /** @type {Sequence[]} */ #waiting = [];
  #running = false;
  #rate = 0;

  /**
   * @param {{engine: Engine, pages: import("./pages.js").Pages, now?: () => number, breath?: () => Promise<void>,
   *   recover?: (error: Error) => Promise<{engine: Engine, pages: import("./pages.js").Pages}>}} options `recover`: another engine after one
   *   failed, or a rejection when there is none
   */
  constructor({ engine, pages, recover = async (error) => { throw error; }, now = () => performance.now(), breath = breather() }) {
    this.engine = engine;
    this.pages = pages;
    this.recover = recover;
    this.now = now;
    this.breath = breath;
  }

  /** @param {Request} request @returns {Promise<Outcome>} @throws {ContextFull | EmptyText | InvalidOption} */
  generate(request) {
    return new Promise((resolve, reject) => {
      const sequence = new Sequence(request, this.now(), resolve, reject);
      this.#check(sequence);
      this.#waiting.push(sequence);
      request.signal?.addEventListener("abort", () => this.#finish(sequence, "abort"), { once: true });
      if (request.signal?.aborted) return this.#finish(sequence, "abort");
      this.#start();
    });
  }

  /** @param {Sequence} sequence */
  #check(sequence) {
    const { tokens, request: { options } } = sequence;
    const { vocabulary, capacity: { context } } = this.engine;
    checkPrompt(tokens, { vocabulary, context }, options.contextPolicy);
    if (tokens.length > context) sequence.shift(context);
  }

  /** Rejects all that run and wait. */
  close(error = new Disposed("The model was disposed. Load it again.")) {
    for (const sequence of [...this.#active, ...this.#waiting]) {
      sequence.drop();
      sequence.reject(error);
    }
    this.#active = [];
    this.#waiting = [];
  }

  /** `tokensPerSecond`: drawn, of all requests together, lately. */
  get figures() {
    return { active: this.#active.length, waiting: this.#waiting.length, tokensPerSecond: this.#rate * 1000 };
  }

  async #start() {
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#active.length || this.#waiting.length) {
        await this.breath();
        await this.#turn().catch(async (error) => this.renew(await this.recover(error)));
      }
    } catch (error) {
      this.close(error);
    } finally {
      this.#running = false;
    }
  }

  /** Everybody computes its tokens anew on another engine; told again of the same one, nothing happens. @param {{engine: Engine, pages: import("./pages.js").Pages}} another */
  renew({ engine, pages }) {
    this.engine = engine;
    this.pages = pages;
    for (const sequence of this.#active) sequence.lease = null; // its pages went with the engine
    this.#waiting.unshift(...this.#active);
    this.#active = [];
  }

  async #turn() {
    this.#admit();
    const shares = this.#plan();
    if (!shares.length) return;
    const before = this.now();
    const picked = this.#run(shares);
    if (picked) this.#settle(shares, picked, this.now() - before);
  }

  /** @param {Share[]} shares */
  #run(shares) {
    try {
      return this.engine.run(batchOf(shares));
    } catch (error) {
      if (!(error instanceof OutputNotFinite) || !this.#blame(shares)) throw error;
      return null; // the others run again
    }
  }

  /** Numbers too large to be told from a broken build's, but an adapter's: whose requests fail alone too are rejected. @param {Share[]} shares @returns {boolean} whether there are any */
  #blame(shares) {
    const guilty = shares.filter((share) => share.sequence.request.adapters?.length && !this.#finite(share));
    for (const { sequence } of guilty) {
      this.#leave(sequence);
      sequence.reject(new OutputNotFinite("With these adapters and scales the model gives numbers that are not finite. Lower the scale, or train the adapter anew with a lower learning rate.", {}));
    }
    return guilty.length > 0;
  }

  /** @param {Share} share */
  #finite(share) {
    try {
      this.engine.run(batchOf([share]));
      return true;
    } catch (error) {
      if (error instanceof OutputNotFinite) return false;
      throw error;
    }
  }

  #admit() {
    const { capacity: { rows, wanted, sequences } } = this.engine;
    while (this.#waiting.length && this.#active.length < Math.min(rows, wanted, sequences)) {
      const next = this.#waiting[0];
      const needed = Math.ceil((next.tokens.length + 1) / this.pages.page);
      if (this.#active.length && needed > this.pages.available) return; // rather than begin what must give way at once
      this.#waiting.shift();
      next.lease = this.pages.open(next.request.key, next.tokens);
      next.began ||= this.now();
      if (!next.drawn) next.cached = next.computed;
      this.#active.push(next);
    }
  }

  /** Who computes how many tokens in this run, with pages for them. The youngest gives way where pages lack. */
  #plan() {
    for (;;) {
      const shares = fairShares(this.#active, this.engine.capacity.rows);
      if (shares.every(({ sequence, count }) => sequence.lease?.reserve(sequence.computed + count))) return shares;
      const youngest = /** @type {Sequence} */ (this.#active.at(-1));
      if (this.#active.length === 1) {
        this.#finish(youngest, "context");
        continue;
      }
      youngest.drop();
      this.#active.pop();
      this.#waiting.unshift(youngest);
    }
  }

  /** Books first, listeners after: they may abort anybody. @param {Share[]} shares @param {Int32Array} picked @param {number} ms */
  #settle(shares, picked, ms) {
    const complete = shares.filter(({ sequence, count }) => count === sequence.left).map(({ sequence }) => sequence);
    for (const { sequence, count } of shares) sequence.lease?.advance(sequence.tokens.slice(sequence.computed, sequence.computed + count));
    if (complete.length) this.#rate = this.#rate ? 0.9 * this.#rate + 0.1 * (complete.length / ms) : complete.length / ms;
    for (const { sequence } of shares) {
      const { request: { onPrefill, tokens }, computed, drawn } = sequence;
      if (!drawn && this.#active.includes(sequence)) onPrefill?.(Math.min(computed, tokens.length), tokens.length);
    }
    complete.forEach((sequence, row) => { if (this.#active.includes(sequence)) this.#accept(sequence, picked[row]); });
  }

  /** @param {Sequence} sequence @param {number} token */
  #accept(sequence, token) {
    const { request, request: { options, eos, onToken } } = sequence;
    const { context } = this.engine.capacity;
    sequence.first ||= this.now();
    if (eos.has(token)) return this.#finish(sequence, "stop");
    sequence.tokens.push(token);
    sequence.drawn++;
    try {
      if (onToken(token)) return this.#finish(sequence, "stop");
    } catch (error) {
      this.#leave(sequence);
      return sequence.reject(error);
    }
    if (!this.#active.includes(sequence)) return; // aborted by its own listener
    if (sequence.drawn >= options.maxTokens) return this.#finish(sequence, "length");
    if (sequence.tokens.length <= context) return;
    if (options.contextPolicy === "stop") return this.#finish(sequence, "context");
    sequence.shift(context);
    sequence.lease = this.pages.open(request.key, sequence.tokens);
  }

  /** @param {Sequence} sequence */
  #leave(sequence) {
    sequence.drop();
    this.#active = this.#active.filter((other) => other !== sequence);
    this.#waiting = this.#waiting.filter((other) => other !== sequence);
  }

  /** @param {Sequence} sequence @param {Reason} reason */
  #finish(sequence, reason) {
    this.#leave(sequence);
    const { request: { tokens }, asked, began, first, drawn, cached } = sequence;
    const now = this.now();
    sequence.resolve({
      reason, usage: { prompt: tokens.length, completion: drawn, cached },
      timings: { prefillMs: (first || now) - (began || now), firstMs: first ? first - asked : 0, decodeMs: first ? now - first : 0 },
    });
  }
}

/** @typedef {{sequence: Sequence, count: number}} Share */

/** Rows dealt out evenly, none to spare for who needs fewer: so who decodes always has its one. @param {Sequence[]} sequences @param {number} rows @returns {Share[]} */
export function fairShares(sequences, rows) {
  let room = rows;
  return [...sequences].sort((a, b) => a.left - b.left).map((sequence, i) => {
    const count = Math.min(sequence.left, Math.floor(room / (sequences.length - i)));
    room -= count;
    return { sequence, count };
  });
}

/** @param {Share[]} shares @returns {Batch} */
function batchOf(shares) {
  /** @type {Batch} */ const batch = { tokens: [], positions: [], sequences: [], wanted: [], pages: [], sampling: [], adapters: [] };
  shares.forEach(({ sequence, sequence: { tokens, computed, request, drawn }, count }, index) => {
    for (let at = computed; at < computed + count; at++) {
      batch.tokens.push(tokens[at]);
      batch.positions.push(at);
      batch.sequences.push(index);
    }
    batch.pages.push(/** @type {import("./pages.js").Lease} */ (sequence.lease).pages);
    batch.adapters.push(request.adapters ?? []);
    if (computed + count < tokens.length) return;
    batch.wanted.push(batch.tokens.length - 1);
    batch.sampling.push(rowOf(request.options, drawn, tokens));
  });
  return batch;
}
