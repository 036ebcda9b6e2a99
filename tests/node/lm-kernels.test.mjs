/** Kernels of language models in V8: the references' answers in every build, and the same bits on one, two and three threads. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Worker } from "node:worker_threads";

import { wasmHost } from "../../web/engine/kernels.js";
import { checkRecord } from "../../web/engine/kernels/health.js";
import { runRecord } from "../../web/engine/kernels/records.js";
import { ABORTED, CONTROL, END, MAX_THREADS, STALLED } from "../../web/engine/lm/abi.js";
import { checkBuild } from "../../web/engine/lm/health.js";
import { bytes, json } from "./pack-folder.mjs";

const { records } = json("vectors.json");
const STACK = 131072;
const table = (module) => JSON.parse(new TextDecoder().decode(WebAssembly.Module.customSections(module, "edgenet.lm")[0]));

for (const build of ["simd", "relaxed"]) {
  const engine = (await wasmHost(await WebAssembly.compile(bytes(`engine.${build}.wasm`)))).records();
  for (const vector of records) test(`${build}, ${vector.kernel}: ${vector.reason}`, () => checkRecord(engine, vector));
}

test("the host's words, codes and limits are those of the C headers", () => {
  const [interpreter, lm] = ["interpreter", "lm"].map((name) => readFileSync(new URL(`../../wasm/lm/${name}.h`, import.meta.url), "utf8"));
  const [body] = /** @type {RegExpExecArray} */ (/typedef struct \{[^}]*\} control;/.exec(interpreter));
  let end = 0;
  const words = Object.fromEntries([...body.matchAll(/uint32_t (\w+)(?:\[(\d+)\])?;/g)].map(([, name, count = "1"]) => [name, (end += Number(count)) - Number(count)]));
  const { bytes: size, ...places } = CONTROL;
  assert.deepEqual(places, Object.fromEntries(Object.keys(places).map((name) => [name, words[name]])));
  assert.equal(size, 4 * end);
  assert.equal(END, Number(/#define END (\w+)u/.exec(interpreter)?.[1]));
  assert.equal(MAX_THREADS, Number(/#define MAX_THREADS (\d+)/.exec(lm)?.[1]));
  assert.match(lm, new RegExp(`enum \\{ ABORTED = ${ABORTED}, STALLED = ${STALLED} \\};`));
});

test("every kernel has vectors", () => {
  const covered = new Set(records.map(({ kernel }) => kernel));
  const packed = ["quantize", "rms_norm_quantize", "layer_norm_quantize"]; // their answers are compared in Python
  assert.deepEqual(engine().table.ops.map(([name]) => name).filter((name) => !covered.has(name)), packed);
});

for (const name of ["simd", "relaxed", "simd.threads"]) {
  test(`the health check of ${name} passes, and fails where a kernel answers otherwise`, async () => {
    const build = { name, module: await WebAssembly.compile(bytes(`engine.${name}.wasm`)), shared: name.endsWith("threads") };
    const health = json("health.json");
    assert.equal(await checkBuild(build, health), health.records.length);
    const [wrong] = structuredClone(health.records.filter(({ kernel, code }) => kernel === "rms_norm" && code === 0));
    wrong.words.eps = 0x3f800000; // 1
    await assert.rejects(checkBuild(build, { records: [wrong] }), { code: "pack_health_check", message: /differs/ });
    wrong.words.d = 2 ** 28; // the row ends outside of memory
    await assert.rejects(checkBuild(build, { records: [wrong] }), { code: "pack_health_check", message: /stopped/ });
  });
}

// --- threads --------------------------------------------------------------------------------------------------------
let shared, workers;
const engine = () => shared;

/** The engine in shared memory with two more threads, which wait for runs. */
before(async () => {
  const module = await WebAssembly.compile(bytes("engine.simd.threads.wasm"));
  const memory = new WebAssembly.Memory({ initial: 512, maximum: 512, shared: true });
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
  const control = Math.ceil((exports.__heap_base.value + 2 * STACK) / 64) * 64;
  const stack = (number) => control - (2 - number) * STACK;
  workers = [1, 2].map((number) => new Worker(new URL("./lm-thread.mjs", import.meta.url), { workerData: { module, memory, stack: stack(number), control, number } }));
  shared = { exports, memory, control, base: control + CONTROL.bytes, table: table(module), words: new Int32Array(memory.buffer, control, 64) };
  await Promise.all(workers.map((worker) => once(worker, "message")));
});

const { run: RUN, abort: ABORT, slots: SLOTS } = CONTROL;

after(async () => {
  const left = workers.map((worker) => once(worker, "message"));
  Atomics.add(shared.words, RUN, 16 - (shared.words[RUN] & 15)); // the next run has no threads: they leave
  Atomics.notify(shared.words, RUN);
  assert.deepEqual((await Promise.all(left)).flat(), ["left", "left"]);
});

for (const vector of records) {
  test(`threads, ${vector.kernel}: ${vector.reason}`, () => {
    checkRecord(engine(), vector, 1);
    const want = runRecord(engine(), vector, 1);
    for (const threads of [2, 3]) {
      const { code, outputs } = runRecord(engine(), vector, threads);
      assert.equal(code, want.code);
      if (code === 0) assert.deepEqual(outputs, want.outputs);
    }
  });
}

/** Runs records of `op` on `threads` threads; `data` are words written at `at`, where the records may point. */
function program(threads, list) {
  const { table, memory, control, base, exports } = engine();
  const code = Object.fromEntries(table.ops.map(([name], i) => [name, i]));
  const words = list.flatMap(([op, args, { sync = 1, slots = 0 } = {}]) => [code[op] | (args.length << 16), sync, slots, ...args]);
  new Uint32Array(memory.buffer, base, words.length + 2).set([control, ...words, 0xffffffff]);
  return exports.run(base, 0, threads);
}

const bits = (value) => new Uint32Array(Float32Array.of(value).buffer)[0];
const floats = (at, count) => new Float32Array(engine().memory.buffer, at, count);
const data = () => engine().base + 65536;
const scaled = (at, count, factor) => ["scale", [at, at, 1, count, bits(factor)]];

for (const threads of [1, 2, 3]) {
  test(`${threads} threads: records see what those before them wrote`, () => {
    floats(data(), 1000).fill(1);
    assert.equal(program(threads, Array.from({ length: 60 }, (_, i) => scaled(data() + 4 * i, 900, 2))), 0);
    assert.equal(floats(data(), 1000)[500], 2 ** 60);
  });

  test(`${threads} threads: the abort word ends a run for all at the next barrier, until it is cleared`, () => {
    const { control, words } = engine();
    const numbers = floats(data(), 64).fill(1);
    const copied = ["rows", [data(), data() + 512, control + 4 * ABORT, 64, 1, 1]]; // a kernel of the run sets the word: no race to win
    new Int32Array(engine().memory.buffer, data() + 512, 1)[0] = 3;
    assert.equal(program(threads, [scaled(data(), 48, 2), copied, scaled(data(), 48, 2), scaled(data(), 48, 2)]), ABORTED);
    assert.equal(numbers[3], 2);
    words[ABORT] = 0;
    assert.equal(program(threads, [scaled(data(), 48, 2)]), 0);
    assert.equal(numbers[3], 4);
  });

  test(`${threads} threads: one thread's failure ends the run for all with its code, and the next run is whole`, () => {
    const numbers = floats(data(), 64).fill(1);
    new Int32Array(engine().memory.buffer, data() + 512, 3).set([0, 1, 99]); // the last row is the last thread's
    const failing = ["rows", [data(), data() + 512, data() + 1024, 4, 3, 1], { sync: 0 }];
    assert.equal(program(threads, [failing, scaled(data(), 48, 2), scaled(data(), 48, 2)]), 1);
    assert.ok(numbers.slice(0, 48).every((n) => n <= 2)); // what others did up to the barrier, and nothing behind it
    assert.equal(program(threads, [scaled(data(), 64, 0)]), 0);
    assert.ok(numbers.every((n) => n === 0));
  });
}

test("a slot's value is the same for all threads", () => {
  floats(data(), 64).fill(1);
  engine().words[SLOTS + 2] = 40;
  assert.equal(program(3, [["scale", [data(), data(), 1, 2, bits(3)], { slots: 1 << 3 }]]), 0);
  assert.deepEqual([floats(data(), 64)[39], floats(data(), 64)[40]], [3, 1]);
});

test("the number of threads may change from run to run", () => {
  floats(data(), 64).fill(1);
  for (const threads of [3, 1, 2, 3, 2, 1, 3]) assert.equal(program(threads, [scaled(data(), 64, 2)]), 0);
  assert.ok(floats(data(), 64).every((n) => n === 128));
});

test("numbers of threads that cannot be are refused", () => {
  for (const threads of [0, -1, 9]) assert.equal(engine().exports.run(engine().base, 0, threads), 3);
});
