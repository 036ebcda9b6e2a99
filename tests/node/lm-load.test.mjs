/** Weights into engine memory, the plan of that memory, packing of texts, the choice of threads: the parts that need no engine module. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { embed, packs } from "../../web/engine/lm/embed.js";
import { jobsOf, pour } from "../../web/engine/lm/load.js";
import { fasterThreads } from "../../web/engine/lm/measure.js";
import { LIMIT, planMemory } from "../../web/engine/lm/memory.js";
import { Model } from "../../web/engine/lm/model.js";
import { KernelTrap } from "../../web/sdk/errors.js";

const TABLE = {
  threads: 8,
  layouts: {
    types: { f32: { code: 0, layout: "f32" }, q8_0: { code: 8, layout: "q8" } },
    weights: { f32: { code: 0, rows: 1, columns: 1, bytes: 4 }, q8: { code: 7, rows: 4, columns: 32, bytes: 136 } },
  },
};
const weight = (offset, shape, type, bytes) => ({ name: `w${offset}`, artifact: "model", offset, bytes, type, shape });
/** A norm of 64 and two matrices, of 70 x 64 and 100000 x 64. */
const WEIGHTS = [weight(32, [64], "f32", 256), weight(288, [70, 64], "q8_0", 70 * 68), weight(5048, [100000, 64], "q8_0", 6800000)];
const program = (changes = {}) => ({
  name: "m", capacity: { context: 64 }, regions: { constants: 12, arena: 1000, kv: 4096 }, weights: WEIGHTS, code: [["add", [0, 0, 0, 1, 1], 1]], ...changes,
});

test("memory: regions lie one after another, aligned, and nothing overlaps but staging with arena and cache", () => {
  const plan = planMemory(program(), TABLE, { base: 1000, threads: 3 });
  const { regions, weights } = plan;
  const parts = [
    [plan.control, 256], ...plan.stacks.map((top) => [top - 131072, 131072]), [plan.program, 4], [plan.probe, 4], [regions.constants, 12],
    ...weights.map(({ address, bytes }) => [address, bytes]), [regions.arena, 1000], [regions.kv, 4096],
  ];
  parts.reduce((end, [at, size]) => { assert.ok(at >= end && at % 64 === 0, `${at} after ${end}`); return at + size; }, 1000);
  assert.equal(plan.stacks.length, 2);
  assert.deepEqual(weights.map(({ bytes }) => bytes), [256, 18 * 2 * 136, 25000 * 2 * 136]);
  assert.equal(plan.staging, regions.arena);
  assert.ok(plan.end >= plan.staging + 6 * plan.stagingBytes && plan.end >= regions.kv + 4096);
});

test("memory: a model that does not fit is refused with the numbers, before anything is allocated", () => {
  const kv = LIMIT - 6_000_000;
  assert.throws(() => planMemory(program({ regions: { constants: 0, arena: 0, kv } }), TABLE, { base: 0, threads: 1 }), (error) => {
    assert.equal(error.code, "model_too_large");
    assert.deepEqual([error.details.limit, error.details.kv], [LIMIT, kv]);
    return error.details.needed > LIMIT;
  });
});

test("memory: beside the cache it is little more than the file, threads included", () => {
  const file = Array.from({ length: 24 }, (_, i) => weight(i, [50000, 256], "q8_0", 50000 * 272));
  const [size, kv] = [24 * 50000 * 272, 200 << 20];
  const { end } = planMemory(program({ weights: file, regions: { constants: 12, arena: 5 << 20, kv } }), TABLE, { base: 1 << 20, threads: 8 });
  assert.ok((end - kv) / size < 1.05, String((end - kv) / size));
});

test("load: jobs cover every byte of every weight once, in groups that can be repacked", () => {
  const plan = planMemory(program(), TABLE, { base: 0, threads: 1 });
  const jobs = jobsOf(program(), TABLE, plan);
  assert.ok(jobs.length > 5);
  let end = 32;
  for (const { offset, bytes, first, count, rows, layout } of jobs) {
    assert.ok(bytes <= plan.stagingBytes);
    assert.ok(layout === 0 || first % 4 === 0);
    assert.ok(first + count === rows || count % 4 === 0);
    assert.equal(offset, end);
    end += bytes;
  }
  assert.equal(end, 5048 + 6800000);
});

/** Memory and a repack that copies rows to their place. */
function played(size) {
  const memory = { buffer: new ArrayBuffer(size) };
  const copied = [];
  const repack = (type, layout, source, destination, rows, columns, first, count) => {
    copied.push([destination, first, count]);
    return type === 0 && new Float32Array(memory.buffer, source, 1)[0] < 0 ? 1 : 0;
  };
  return { memory, copied, exports: { repack } };
}

const shared = (file, jobs) => ({ jobs, sources: { model: { blob: file } }, next: new Int32Array(new SharedArrayBuffer(4)) });
const JOBS = jobsOf(program(), TABLE, planMemory(program(), TABLE, { base: 0, threads: 1 }));

test("load: every thread takes what nobody has; together they take everything once", async () => {
  const pouring = shared(new Blob([new Uint8Array(6805048)]), JOBS);
  const threads = [played(4 << 20), played(4 << 20), played(4 << 20)];
  await Promise.all(threads.map((engine) => pour(pouring, { ...engine, staging: 0, stagingBytes: 1 << 20 })));
  const all = threads.flatMap(({ copied }) => copied);
  assert.deepEqual(new Set(all.map(String)), new Set(JOBS.map(({ destination, first, count }) => String([destination, first, count]))));
  assert.equal(all.length, JOBS.length);
});

const BROKEN = [
  ["a file that was cut short", new Blob([new Uint8Array(6000)]), {}, "model_invalid"],
  ["a part that was not given", new Blob([]), { sources: {} }, "model_invalid"],
  ["bytes that the engine refuses", new Blob([new Uint8Array(32), new Float32Array([-1]), new Uint8Array(6805048)]), {}, "model_invalid"],
];
for (const [what, file, changes, code] of BROKEN) {
  test(`load: refused by name: ${what}; the other threads stop`, async () => {
    const pouring = { ...shared(file, JOBS), ...changes };
    await assert.rejects(pour(pouring, { ...played(4 << 20), staging: 0, stagingBytes: 1 << 20 }), { code });
    assert.ok(Atomics.load(pouring.next, 0) >= JOBS.length);
  });
}

test("load: a listener that throws, as an abort does, ends the work of all", async () => {
  const pouring = shared(new Blob([new Uint8Array(6805048)]), JOBS.map((job) => ({ ...job, bytes: 4 })));
  const engine = played(4 << 20);
  let clock = 0;
  await assert.rejects(pour(pouring, { ...engine, staging: 0, stagingBytes: 1 << 20 }, () => { throw new Error("enough"); }, () => (clock += 100)), /enough/);
  assert.equal(engine.copied.length, 1);
  assert.ok(Atomics.load(pouring.next, 0) >= JOBS.length);
});

const PACKS = [
  ["the longest first, gaps filled", [3, 8, 5, 2], { rows: 8, sequences: 4 }, [[1], [2, 0], [3]]],
  ["no more texts than sequences", [1, 1, 1], { rows: 8, sequences: 2 }, [[0, 1], [2]]],
  ["no text, no run", [], { rows: 8, sequences: 2 }, []],
];
for (const [what, lengths, capacity, runs] of PACKS) {
  test(`embed: ${what}`, () => assert.deepEqual(packs(lengths, capacity), runs));
}

test("embed: vectors come back in the order of the texts, and a text too long keeps its last token", async () => {
  const seen = [];
  const engine = {
    capacity: { rows: 4, sequences: 3, context: 64 }, dimensions: 1,
    embed({ tokens, positions, sequences }, count) {
      seen.push([tokens, positions, sequences]);
      return Float32Array.from({ length: count }, (_, s) => tokens.filter((_, row) => sequences[row] === s).reduce((a, b) => a + b, 0));
    },
  };
  const vectors = await embed({ engine, breath: async () => {}, recover: async () => {} }, [[1], [2, 3], [4, 5, 6, 7, 100]]);
  assert.deepEqual([...vectors], [1, 5, 4 + 5 + 6 + 100]);
  assert.deepEqual(seen, [[[4, 5, 6, 100], [0, 1, 2, 3], [0, 0, 0, 0]], [[2, 3, 1], [0, 1, 0], [0, 0, 1]]]);
});

test("embed: a run that another's cancel ended, or that broke its engine, is run again; a cancel of its own ends it", async () => {
  const answers = [() => null, () => { throw new Error("broken"); }, () => Float32Array.of(7)];
  const engine = { capacity: { rows: 4, sequences: 3, context: 64 }, dimensions: 1, embed: () => /** @type {any} */ (answers.shift())() };
  const host = { engine, breath: async () => {}, recover: async (error) => { host.engine = { ...engine }; broke.push([error.message, answers.length]); } };
  /** @type {any[]} */ const broke = [];
  assert.deepEqual([...await embed(host, [[1]])], [7]);
  assert.deepEqual(broke, [["broken", 1]]);
  await assert.rejects(embed(host, [[1]], { signal: AbortSignal.abort() }), { name: "AbortError" });
});

/** [what fails, whether the worker is of no use afterwards] @type {[string, Error, Error, boolean][]} */
const ENDS = [
  ["the file of the last build cannot be had, and the engine before is gone", new KernelTrap("trap"), new TypeError("no network"), true],
  ["what failed is no build's fault", new RangeError("a bug"), new TypeError("never opened"), false],
];
for (const [what, failed, next, lost] of ENDS) {
  test(`model: ${what}: the worker ${lost ? "ends" : "goes on"}, and who fails together is told together`, async () => {
    const said = [];
    const offer = (name) => ({ name, shared: false, open: async () => { throw next; } });
    const setting = { files: {}, urls: {}, emit: () => {}, lost: () => said.push("lost") };
    const model = new Model(/** @type {any} */ (setting), [offer("a"), offer("b")]);
    model.engine = /** @type {any} */ ({ wasm: {}, dispose() { this.wasm = null; } });
    const both = await Promise.allSettled([model.recover(failed), model.recover(new TypeError("of a disposed engine"))]);
    assert.deepEqual(both.map(({ reason }) => reason), lost ? [next, next] : [failed, failed]);
    assert.deepEqual(said, lost ? ["lost"] : []);
  });
}

/** A machine on which a run of t threads takes as long as the table says. */
function machine(ms) {
  let clock = 0;
  const runs = [];
  return { runs, now: () => clock, plan: { probe: 0 }, execute: (_program, threads) => { runs.push(threads); clock += ms[threads]; return true; } };
}
const MACHINES = [
  ["two free cores", { 1: 10, 2: 5.4 }, 2, 2],
  ["a second core that others use", { 1: 10, 2: 9.5 }, 2, 1],
  ["four cores, two of them worth it", { 1: 10, 2: 5, 4: 4.8 }, 4, 2],
  ["one core", { 1: 10 }, 1, 1],
];
for (const [what, ms, most, best] of MACHINES) {
  test(`threads: measured on ${what}`, () => {
    const engine = machine(ms);
    assert.equal(fasterThreads(engine, most, engine.now), best);
    assert.deepEqual(engine.runs.slice(0, Object.keys(ms).length), Object.keys(ms).map(Number), "in turn, not one after the other");
  });
}
