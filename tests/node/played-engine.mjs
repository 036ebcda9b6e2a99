/**
 * An engine that is played: its numbers come through the page tables and the adapters' pool, so that a wrong page, position, order, draw or factor
 * gives another text.
 */
import assert from "node:assert/strict";
import { OutputNotFinite } from "../../web/sdk/errors.js";
import { Pages } from "../../web/engine/lm/pages.js";
import { readOptions } from "../../web/engine/lm/sampling.js";
import { Scheduler } from "../../web/engine/lm/scheduler.js";

const PAGE = 4;
export const VOCABULARY = 997;

export class PlayedEngine {
  vocabulary = VOCABULARY;
  runs = [];
  cells = new Map(); // page * PAGE + offset → number

  constructor(capacity = {}) {
    this.capacity = { rows: 8, wanted: 4, sequences: 4, context: 64, ...capacity };
  }

  copy(from, to) {
    for (let i = 0; i < PAGE; i++) this.cells.set(to * PAGE + i, this.cells.get(from * PAGE + i));
  }

  #cell({ sequences, pages }, row, position) {
    return pages[sequences[row]][Math.floor(position / PAGE)] * PAGE + (position % PAGE);
  }

  /** All that came before, by position. @returns {number} */
  #logit(batch, row) {
    let sum = 0;
    for (let at = 0; at <= batch.positions[row]; at++) sum = (sum * 31 + this.cells.get(this.#cell(batch, row, at)) * (at + 1)) % 1000003;
    return sum;
  }

  /** Programs beside the loaded one: of the adapted one the buffers that hold adapters. */
  async add({ adapted: { slots, values, sites } }) {
    this.views = { pool: new Float32Array(values), table: new Int32Array(4 * slots * sites), mix: new Float32Array(slots * this.capacity.rows) };
    this.adapters = { slots, sites };
  }

  drop(names) {
    assert.deepEqual(names, ["adapted"]);
    this.views = null;
  }

  view(name, program) {
    assert.equal(program, "adapted");
    return this.views[name];
  }

  /** What a row's adapters add to its cell: every factor's values count, by their place in it, and the scale; wherever they lie. */
  #added(row) {
    const { views: { pool, table, mix }, adapters: { slots, sites } } = this;
    let sum = 0;
    for (let slot = 0; slot < slots; slot++) {
      for (let site = 0; site < sites; site++) {
        const [a, b, rank] = table.subarray(4 * (site * slots + slot));
        if (mix[row * slots + slot] && rank) sum += mix[row * slots + slot] * [...pool.subarray(a, a + 3 * rank), ...pool.subarray(b, b + 2 * rank)].reduce((x, y, i) => x + y * (i + 1 + site), 0);
      }
    }
    return sum;
  }

  run(batch, program) {
    const { rows, wanted, sequences, context } = this.capacity;
    assert.ok(batch.tokens.length <= rows && batch.wanted.length <= wanted && batch.pages.length <= sequences);
    assert.equal(batch.sampling.length, batch.wanted.length);
    this.runs.push(batch.sequences.map((s) => s));
    this.before?.(batch);
    if (this.aborting) return (this.aborting = false), null;
    batch.tokens.forEach((token, row) => {
      assert.ok(batch.positions[row] < context);
      const added = program ? this.#added(row) : 0;
      if (Math.abs(added) > 1e6) throw new OutputNotFinite("too large", {});
      this.cells.set(this.#cell(batch, row, batch.positions[row]), token * 7 + 1 + added);
    });
    return Int32Array.from(batch.wanted, (row, i) => {
      const { words, history } = batch.sampling[i];
      return (this.#logit(batch, row) + words[7] * 13 + words[9] * 17 + history.reduce((a, b) => a + b, 0)) % VOCABULARY;
    });
  }
}

/** A scheduler with its engine and pages. */
export function played({ pages: count = 64, recover, ...capacity } = {}) {
  const make = () => {
    const engine = new PlayedEngine(capacity);
    return { engine, pages: new Pages({ pages: count, page: PAGE, copy: (from, to) => engine.copy(from, to) }) };
  };
  const first = make();
  return { ...first, make, scheduler: new Scheduler({ ...first, recover: recover && ((error) => recover(error, make)) }) };
}

export const prompt = (length, first = 1) => Array.from({ length }, (_, i) => (first * 101 + i * 7) % VOCABULARY);

/** Starts a request; answers its outcome with the tokens drawn. */
export async function generate({ scheduler }, { tokens = prompt(5), eos = [], onToken = () => false, signal, keep, held, ...options } = {}) {
  const drawn = [];
  const request = { tokens, options: readOptions({ seed: 1, maxTokens: 12, ...options }), eos: new Set(eos), key: `m${held?.key ?? ""}`, adapters: held?.mix, keep, signal };
  const outcome = await scheduler.generate({ ...request, onToken: (token) => { drawn.push(token); return onToken(token, drawn); } });
  return { ...outcome, drawn };
}
