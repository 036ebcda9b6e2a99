/** Several Programs in the engine module, over one set of weights: on memory of its own and on shared memory with a second thread that waits for runs. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import { CONTROL } from "../../web/engine/lm/abi.js";
import { breather } from "../../web/engine/lm/breath.js";
import { LanguageEngine } from "../../web/engine/lm/engine.js";
import { Heap } from "../../web/engine/lm/memory.js";
import { Model } from "../../web/engine/lm/model.js";
import { readOptions, rowOf } from "../../web/engine/lm/sampling.js";
import { Scheduler } from "../../web/engine/lm/scheduler.js";
import { trainKinds } from "../../web/engine/lm/train.js";
import { KernelTrap } from "../../web/sdk/errors.js";
import { bytes } from "./pack-folder.mjs";

const { programs: { loaded, train, update, sum }, file, rows, hyper, start, losses } = JSON.parse(readFileSync(new URL("../vectors/program/beside.json", import.meta.url), "utf8"));
const raw = (/** @type {string} */ text) => Uint8Array.from(Buffer.from(text, "base64"));
const floats = (/** @type {string} */ text) => new Float32Array(raw(text).buffer);
const TYPES = { weights: Float32Array };
/** Words of control: the run's number and threads. */
const RUN = 0;

/** A thread of Node with the face of `Threads`. */
class Team {
  count = 1;
  death = null;

  async start({ module, memory, plan: { stacks, control } }) {
    this.words = new Int32Array(memory.buffer, control, 64);
    this.worker = new Worker(new URL("./lm-thread.mjs", import.meta.url), { workerData: { module, memory, stack: stacks[0], control, number: 1 } });
    await once(this.worker, "message");
  }

  async pour() {}

  async enter(words) {
    while (!(Atomics.load(words, CONTROL.ready) >> 1 & 1)) await new Promise((resolve) => setImmediate(resolve));
    return 1;
  }

  close() {
    Atomics.add(this.words, RUN, 16 - (this.words[RUN] & 15));
    Atomics.notify(this.words, RUN);
  }
}

const engines = [];
after(() => engines.forEach((engine) => engine.dispose()));

/** The decoder, loaded. @param {string} name of a build @param {boolean} [team] a second thread */
async function opened(name, team = false) {
  const build = { name, shared: name.endsWith("threads"), module: await WebAssembly.compile(bytes(`engine.${name}.wasm`)) };
  const engine = await LanguageEngine.open({ program: loaded, sources: { model: { blob: new Blob([raw(file)]) } }, build, team: team ? /** @type {any} */ (new Team()) : null, fixed: true });
  engines.push(engine);
  return engine;
}

/** The worker's kinds on an engine. */
function desk(engine) {
  const recovered = [];
  const host = { engine, breath: breather(), recover: async (error) => { recovered.push(error); throw error; } };
  const kinds = trainKinds(() => /** @type {any} */ (host));
  const ask = async (kind, args = {}, signal = new AbortController().signal) => {
    const answer = await kinds[`lm.${kind}`](args, { signal, emit() {} });
    return answer?.result ?? answer;
  };
  return { ask, recovered };
}

/** Two steps: the losses of each, and the parameters after. */
async function teach(ask) {
  await ask("add", { programs: { train, update } });
  await ask("write", { program: "train", name: "parameters", array: floats(start) });
  for (const [name, values] of Object.entries(rows)) await ask("write", { program: "train", name, array: (TYPES[name] ?? Int32Array).from(values) });
  const found = [];
  for (const words of hyper) {
    await ask("write", { program: "update", name: "hyper", array: Float32Array.from(words) });
    await ask("run", { program: "train", slots: { n: 7, s: 2 } });
    found.push(await ask("read", { program: "train", name: "losses" }));
    await ask("run", { program: "update" });
  }
  return { losses: found, parameters: await ask("read", { program: "update", name: "parameters" }) };
}

/** One run of the decoder, or of an added Program like it: logits after the last token. */
function decode(engine, tokens, at, program) {
  const places = { positions: tokens.map((_, i) => at + i), sequences: tokens.map(() => 0), wanted: [tokens.length - 1], pages: [[0]] };
  assert.ok(engine.run({ tokens, ...places, sampling: [rowOf(readOptions({ temperature: 0, seed: 0 }), 0, [])], adapters: [[]] }, program));
  return engine.logits(1, program);
}

const near = (found, wanted, error) => found.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) <= error, `${value} is not ${wanted[i]}`));
const seen = {};

for (const [name, team] of [["simd", false], ["relaxed", false], ["simd.threads", false], ["simd.threads", true]]) {
  const what = `${name}${team ? ", two threads" : ""}`;

  test(`${what}: two Programs teach the decoder as NumPy does, and it goes on where it was`, async () => {
    const [alone, engine] = [await opened(name, team), await opened(name, team)];
    for (const each of [alone, engine]) decode(each, [1, 2], 0);
    const taught = await teach(desk(engine).ask);
    near([...taught.losses[1]], losses[1], 0.02);
    assert.deepEqual(decode(engine, [3], 2), decode(alone, [3], 2));
    const build = name.replace(".threads", "");
    assert.deepEqual(taught, (seen[build] ??= taught), "the same bits on any memory and number of threads");
  });

  test(`${what}: a Program like the loaded one uses its cache and gives its bits`, async () => {
    const [alone, engine] = [await opened(name, team), await opened(name, team)];
    await engine.add({ again: structuredClone(loaded) });
    for (const each of [alone, engine]) decode(each, [1, 2], 0);
    assert.deepEqual(decode(engine, [3], 2, "again"), decode(alone, [3], 2));
  });

  test(`${what}: added and dropped a hundred times, memory is what it was after the first`, async () => {
    const engine = await opened(name, team);
    const { ask } = desk(engine);
    const sizes = new Set();
    for (let i = 0; i < 100; i++) {
      await ask("add", { programs: { train, update } });
      assert.ok((await ask("read", { program: "update", name: "parameters" })).every((value) => value === 0));
      await ask("write", { program: "train", name: "parameters", array: floats(start) });
      await ask("drop", { names: ["train"] });
      assert.deepEqual(await ask("read", { program: "update", name: "parameters" }), floats(start), "the state stays for who is left");
      await ask("drop", { names: ["update"] });
      sizes.add(engine.wasm.buffer.byteLength);
    }
    assert.equal(sizes.size, 1);
    assert.equal(engine.programs.heap.bytes, 0);
  });
}

test("an abort ends a run whose states are then as before; somebody else's is run again, once, and one's own is told", async () => {
  const engine = await opened("simd.threads", true);
  const { ask } = desk(engine);
  await ask("add", { programs: { sum } });
  await ask("write", { program: "sum", name: "x", array: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8) });
  const abort = () => Atomics.store(/** @type {Int32Array} */ (engine.abortWord), 0, 1);
  abort();
  assert.equal(engine.step("sum", {}), false);
  assert.deepEqual([...engine.view("total", "sum")], Array(8).fill(0), "the sum was made before its only barrier, and taken back");
  abort();
  await ask("run", { program: "sum" });
  assert.deepEqual([...engine.view("total", "sum")], [1, 2, 3, 4, 5, 6, 7, 8]);
  const controller = new AbortController();
  controller.abort();
  await assert.rejects(ask("run", { program: "sum" }, controller.signal), { name: "AbortError" });
});

test("a read has all rows of the last run, whatever their number", async () => {
  const engine = await opened("simd");
  const rows = 49; // 49 * (1 / 49) is less than 1
  const wide = { ...sum, capacity: { ...sum.capacity, rows }, slots: { ...sum.slots, n: rows }, regions: { ...sum.regions, arena: 4096 } };
  wide.buffers = [...sum.buffers, { name: "rows", region: "arena", offset: 1024, dtype: "f32", shape: ["n"] }];
  await engine.add({ wide });
  for (let n = 0; n <= rows; n++) {
    assert.ok(engine.step("wide", { n }));
    assert.equal(engine.programs.read("rows", "wide").length, n);
  }
});

test("a token that is none is refused, and the engine goes on", async () => {
  const engine = await opened("simd");
  const { ask, recovered } = desk(engine);
  await ask("add", { programs: { train } });
  await ask("write", { program: "train", name: "tokens", array: Int32Array.of(50) });
  await assert.rejects(ask("run", { program: "train", slots: { n: 1, s: 1 } }), ({ code, details }) => code === "kernel_trap" && details.returned === 1);
  await ask("write", { program: "train", name: "tokens", array: Int32Array.of(49) });
  await ask("run", { program: "train", slots: { n: 1, s: 1 } });
  assert.deepEqual(recovered, []);
});

test("an engine that breaks is replaced, and the run is told", async () => {
  const engine = await opened("simd");
  const { ask, recovered } = desk(engine);
  await ask("add", { programs: { sum } });
  engine.exports = { run() { throw new WebAssembly.RuntimeError("unreachable"); } };
  await assert.rejects(ask("run", { program: "sum" }), { code: "kernel_unreachable" });
  assert.equal(recovered.length, 1);
});

const changed = (document, change) => { const copy = structuredClone(document); change(copy); return copy; };
const named = (list, name) => list.find((item) => item.name === name);
/** [what, programs, code, part] */
const REFUSED = [
  ["a weight that was not loaded", { a: changed(train, ({ weights }) => { named(weights, "0.q").name = "other"; }) }, "program_mismatch", "weights"],
  ["rows that begin within a group", { a: changed(train, ({ weights }) => { named(weights, "table[0:32]").name = "table[2:34]"; }) }, "program_mismatch", "weights"],
  ["rows behind the last", { a: changed(train, ({ weights }) => { named(weights, "table[0:32]").name = "table[20:52]"; }) }, "program_mismatch", "weights"],
  ["a cache of other size", { a: changed(loaded, ({ regions }) => { regions.kv += 64; }) }, "program_mismatch", "cache"],
  ["states in other places", { a: train, b: changed(update, ({ buffers }) => { named(buffers, "first").offset += 64; }) }, "program_mismatch", "state"],
  ["no Program", { a: { format: "edgenet-model" } }, "program_invalid"],
  ["a decoder without a decoder's buffers", { a: changed(loaded, ({ buffers }) => { buffers.splice(buffers.findIndex(({ name }) => name === "history"), 1); }) }, "program_invalid"],
  ["no name", { "": train }, "invalid_option"],
  ["more memory than there is", { a: changed(sum, ({ regions }) => { regions.state = 2 ** 32 - 10 ** 6; }) }, "model_too_large"],
];
for (const [what, programs, code, part] of REFUSED) {
  test(`refused beside the loaded one: ${what}`, async () => {
    const engine = await opened("simd");
    await assert.rejects(engine.add({ good: sum, ...programs }), (error) => error.code === code && error.details.part === part);
    assert.equal(engine.programs.heap.bytes, 0, "nothing is left");
    await engine.add({ good: sum });
    await assert.rejects(engine.add({ good: sum }), { code: "invalid_option" });
  });
}

/** [what, kind, args, code] @type {[string, string, any, string][]} */
const MISUSED = [
  ["a Program that was not added", "run", { program: "b" }, "invalid_option"],
  ["more rows than were planned", "run", { program: "a", slots: { n: 9 } }, "invalid_option"],
  ["a slot that is none", "run", { program: "a", slots: { k: 1 } }, "invalid_option"],
  ["a buffer that is none", "read", { program: "a", name: "__proto__" }, "program_invalid"],
  ["more values than a buffer holds", "write", { program: "a", name: "x", array: new Float32Array(9) }, "wrong_length"],
  ["no values", "write", { program: "a", name: "x" }, "wrong_length"],
  ["the loaded one", "drop", { names: [undefined] }, "invalid_option"],
];
for (const [what, kind, args, code] of MISUSED) {
  test(`refused by name: ${kind} of ${what}`, async () => {
    const { ask } = desk(await opened("simd"));
    await ask("add", { programs: { a: sum } });
    await assert.rejects(async () => ask(kind, args), { code });
  });
}

test("whoever generates goes on, on the engine that replaces one that a training run broke", async () => {
  const offer = (name) => ({ name, shared: false, open: async () => ({ name, shared: false, module: await WebAssembly.compile(bytes(`engine.${name}.wasm`)) }) });
  const files = { program: loaded, sources: { model: { blob: new Blob([raw(file)]) } }, adapted: async () => null, release() {} };
  const model = new Model(/** @type {any} */ ({ files, urls: {}, threads: 1, emit() {} }), [offer("relaxed"), offer("simd")]);
  const broken = { capacity: loaded.capacity, vocabulary: 50, wasm: {}, dispose() {}, run() { throw new TypeError("of a disposed engine"); } };
  model.engine = /** @type {any} */ (broken);
  model.scheduler = new Scheduler({ engine: /** @type {any} */ (broken), pages: /** @type {any} */ (null), recover: (error) => model.recover(error) });
  await model.recover(new KernelTrap("of a training run"));
  engines.push(model.engine);
  const request = { tokens: [1, 2, 3], options: readOptions({ temperature: 0, maxTokens: 4, seed: 0 }), eos: new Set(), key: "", onToken: () => false };
  assert.equal((await model.scheduler.generate(request)).usage.completion, 4);
});

test("a disposed engine holds no memory, whoever holds the engine", async () => {
  const engine = await opened("simd");
  const memories = () => [engine, engine.programs].flatMap((owner) => Object.values(owner)).filter((value) => value instanceof WebAssembly.Memory);
  assert.ok(memories().length);
  engine.dispose();
  assert.deepEqual(memories(), []);
  assert.throws(() => engine.programs.of(), { code: "invalid_option" });
});

test("a heap takes the lowest place that fits", () => {
  const heap = new Heap(100);
  const [a, b, c] = [heap.take(64), heap.take(1), heap.take(100)];
  assert.deepEqual([a, b, c, heap.end, heap.bytes], [128, 192, 256, 384, 256]);
  heap.give(b);
  assert.deepEqual([heap.take(65), heap.take(64)], [384, b]);
  for (const block of [a, b, c, 384]) heap.give(block);
  assert.equal(heap.end, 128);
});

test("two who ask for breath both get it, in their order", async () => {
  const breath = breather();
  const order = [];
  await Promise.all([1, 2, 3].map((who) => breath().then(() => order.push(who))));
  assert.deepEqual(order, [1, 2, 3]);
});
