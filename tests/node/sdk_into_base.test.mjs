/** `session.adapters.mergeIntoBase` over played workers and a played disk: what crosses, what comes back, what is left where it fails. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { writeMade } from "../../web/loader/made.js";
import { KINDS } from "../../web/sdk/frame-server.js";
import { disk, freshDisk, held } from "./played_disk.mjs";
import { Stage } from "./played_lm.mjs";

const BEFORE = { loss: 3, bitsPerByte: 2 }, ADAPTER = { loss: 2, bitsPerByte: 1.5 }, AFTER = { loss: 2.1, bitsPerByte: 1.6 };

/** A session whose Python writes four bytes; `evaluate`: what its new model is worth. */
async function opened(t, { evaluate = async () => AFTER } = {}) {
  const stage = new Stage(t);
  freshDisk();
  const asked = [];
  stage.library = async (kind, args, { emit, signal }) => {
    if (kind === "train.evaluate") return evaluate(args);
    asked.push([kind, args]);
    const file = await writeMade(args.made, 4, signal);
    emit({ status: "progress", phase: "merge", loaded: 1, total: 1, progress: 100 });
    emit({ status: "progress", phase: "write", loaded: 1, total: 4, progress: 25 });
    file.write(Uint8Array.from([71, 71, 85, 70]));
    if (stage.during) await stage.during();
    file.end();
    return { file: "M-mine.gguf", merge: { rank: 4 }, into: { tensors: [], error: 0.01, bytes: 4 }, evaluation: args.data ? [BEFORE, ADAPTER] : null };
  };
  return { stage, asked, session: await stage.loader.load("m") };
}

/** [what is given, adapters, how, what Python is asked] @type {[string, any, any, any][]} */
const GIVEN = [
  ["one", "a", undefined, { ids: ["a"], options: {} }],
  ["one of a type", "a", { type: "q8_0", name: "mine" }, { ids: ["a"], options: {}, type: "q8_0", name: "mine" }],
  ["one at half", { id: "a", weight: 0.5 }, { strategy: "task_arithmetic" }, { ids: ["a"], options: { strategy: "task_arithmetic", weights: [0.5] } }],
  ["several", ["a", { id: "b", weight: 2 }], { rank: 8 }, { ids: ["a", "b"], options: { rank: 8, weights: [1, 2] } }],
];
for (const [what, adapters, how, wanted] of GIVEN) {
  test(`into base: ${what}`, async (t) => {
    const { asked, session } = await opened(t);
    const { file, report, merge, evaluation } = await session.adapters.mergeIntoBase(adapters, how);
    const [[kind, { made, ...args }]] = asked;
    assert.deepEqual([kind, args, disk.files.has(made)], ["library.into", wanted, true]);
    assert.deepEqual([file.name, await file.text(), report.error, merge, evaluation], ["M-mine.gguf", "GGUF", 0.01, { rank: 4 }, null]);
  });
}

test("into base: progress is told phase by phase, and the file goes when it is discarded, once", async (t) => {
  const { session } = await opened(t);
  const told = [];
  const { discard } = await session.adapters.mergeIntoBase("a", { onProgress: ({ name, phase, progress }) => told.push([name, phase, progress]) });
  assert.deepEqual([told, disk.files.size, held.size], [[["m", "merge", 100], ["m", "write", 25]], 1, 1]);
  await discard();
  await discard();
  assert.deepEqual([disk.files.size, held.size], [0, 0]);
});

test("into base: a file can be discarded after its session is gone, and goes with its loader", async (t) => {
  const { session, stage } = await opened(t);
  const [one, two] = [await session.adapters.mergeIntoBase("a"), await session.adapters.mergeIntoBase("a")];
  await session.dispose();
  await one.discard();
  assert.deepEqual([disk.files.size, held.size], [1, 1]);
  stage.loader.dispose();
  await two.discard();
  await new Promise((resolve) => { setTimeout(resolve); });
  assert.deepEqual([disk.files.size, held.size], [0, 0]);
});

test("into base: the losses are those of the base, of base and adapter, and of the new model, which is closed again", async (t) => {
  const { session, stage } = await opened(t);
  const { evaluation } = await session.adapters.mergeIntoBase("a", { evaluate: ["some text"] });
  assert.deepEqual([evaluation, stage.workers.length, stage.alive.length], [{ before: BEFORE, adapter: ADAPTER, after: AFTER }, 2, 1]);
  assert.deepEqual(Object.keys(stage.workers[1].loaded.files), ["model"]);
});

test("into base: a new model for which there is no room is kept, and it is said that its loss is not known", async (t) => {
  const { session, stage } = await opened(t);
  stage.tooLarge = true;
  const { file, evaluation } = await session.adapters.mergeIntoBase("a", { evaluate: "some text" });
  assert.deepEqual([evaluation.after, file.size, stage.said.includes("merged_not_evaluated")], [null, 4, true]);
});

test("into base: a stop while the new model is measured leaves no file", async (t) => {
  const stop = new AbortController();
  const { session, stage } = await opened(t, { evaluate: async () => { stop.abort(new RangeError("enough")); return AFTER; } });
  await assert.rejects(session.adapters.mergeIntoBase("a", { evaluate: "some text", signal: stop.signal }), { message: "enough" });
  assert.deepEqual([disk.files.size, stage.alive.length], [0, 1]);
});

test("into base: a stop while it is written leaves no file, nor does one without room", async (t) => {
  const { session, stage } = await opened(t);
  const stop = new AbortController();
  stage.during = async () => { stop.abort(new RangeError("enough")); };
  await assert.rejects(session.adapters.mergeIntoBase("a", { signal: stop.signal }), { message: "enough" });
  await new Promise((resolve) => { setTimeout(resolve); });
  stage.during = null;
  disk.free = 3;
  await assert.rejects(session.adapters.mergeIntoBase("a"), { code: "quota_exceeded" });
  assert.deepEqual([disk.files.size, disk.open.size, held.size], [0, 0, 0]);
});

test("into base: bad texts are refused before anything is asked", async (t) => {
  const { asked, session } = await opened(t);
  await assert.rejects(session.adapters.mergeIntoBase("a", { evaluate: [7] }), { code: "not_text" });
  assert.deepEqual(asked, []);
});

test("frames: a page may have files made, and discard its own", () => {
  assert.ok(KINDS.has("lm.library.into") && KINDS.has("hub.discard"));
});
