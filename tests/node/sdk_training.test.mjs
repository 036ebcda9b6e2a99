/** `session.createTrainer` over played workers: what crosses to Python, who is lent to it and for how long, what is listed without it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { keys, set } from "idb-keyval";
import { keptStore, sweepRuns } from "../../web/loader/kept.js";
import { MANIFEST, Stage, ready } from "./played_lm.mjs";

const DONE = { reason: "steps", step: 2, metrics: { steps: 2 } };

async function opened(t) {
  const stage = new Stage(t);
  return { stage, session: await stage.loader.load("m"), get worker() { return stage.workers.at(-1); } };
}

/** The next way that Python is given. @param {Stage} stage */
const line = (stage) => new Promise((resolve) => { stage.onLine = resolve; });
const bytes = (value) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

test("training: data, options and name cross; events and the result come back", async (t) => {
  const { session, stage, worker } = await opened(t);
  stage.course = async (python, { emit }) => {
    const asked = await python.lent.call("lm.encode", { text: "ab" });
    emit({ kind: "step", step: 1, loss: 2, tokens: asked.tokens });
    return DONE;
  };
  const trainer = session.createTrainer({ name: "mine", preset: "coder", lora: { r: 2 }, training: { maxSteps: 2 } });
  const events = [];
  const data = ["one", { input: "a", output: "b", more: 1 }, new File(["\r\ntwo"], "x.txt")];
  assert.deepEqual(await trainer.train(data, { onEvent: (event) => events.push(event) }), DONE);
  const [, [kind, args, { model }]] = stage.trained.toSorted(([a]) => (a === "line" ? -1 : 1));
  assert.deepEqual([kind, args], ["start", { id: trainer.id, data: ["one", { input: "a", output: "b" }, { name: "x.txt", text: "\ntwo" }], sample: ["one", "a", "two"], name: "mine", preset: "coder", lora: { r: 2 }, training: { maxSteps: 2 } }]);
  assert.deepEqual(model, { key: "m@1", filenames: { model: "m.gguf", program: "program.json" }, sha256: "" });
  assert.deepEqual([events, trainer.state], [[{ kind: "step", step: 1, loss: 2, tokens: [97, 98] }], "done"]);
  await new Promise((resolve) => { setTimeout(resolve); });
  assert.equal(worker.lent, 0, "nobody is lent for longer than it is needed");
});

/** @type {[string, any, string][]} */
const WRONG = [["nothing", undefined, "invalid_option"], ["a number", [7], "not_text"], ["half a pair", [{ input: "a" }], "not_text"], ["a binary file", new Blob([new Uint8Array([1, 0])]), "not_text"],
  ["too much of all", Array(21).fill("x".repeat(1_000_000)), "text_too_large"], ["too large a file of lines", new File(["\n".repeat(20_000_001)], "x.jsonl"), "text_too_large"],
  ["a file whose bytes no text within the limit has", { size: 60_000_001, __proto__: Blob.prototype }, "text_too_large"]];
for (const [what, data, code] of WRONG) {
  test(`training: ${what} is refused before anybody is asked`, async (t) => {
    const { session, stage } = await opened(t);
    const trainer = session.createTrainer();
    await assert.rejects(trainer.train(data), { code });
    assert.deepEqual([stage.trained, trainer.state], [[], "new"]);
  });
}

test("training: what is limited is characters, not the bytes of a file", async (t) => {
  const { session, stage } = await opened(t);
  stage.course = async () => DONE;
  await session.createTrainer().train([new File(["\u20ac".repeat(6_700_000)], "x.txt"), "x".repeat(6_000_000)]); // 26,100,000 bytes
  assert.equal(stage.trained.filter(([kind]) => kind === "start").length, 1);
});

/** [what it is, the call] @type {[string, (session: any) => Promise<any>][]} */
const ILL = [["no adapters to merge", ({ adapters }) => adapters.merge(null)], ["an adapter to merge that is none", ({ adapters }) => adapters.merge(["a", null])],
  ["a merge's options that are none", ({ adapters }) => adapters.merge(["a", "b"], null)], ["nothing to merge into the base", ({ adapters }) => adapters.mergeIntoBase([{ id: 7 }])],
  ["a signal that is none", (session) => session.createTrainer().train("x", { signal: 7 })], ["a listener that is none", (session) => session.createTrainer().train("x", { onEvent: null })],
  ["an evaluation's signal that is none", (session) => session.createTrainer().evaluate("x", { signal: {} })], ["a load's listener that is none", ({ adapters }) => adapters.load({ saved: "a" }, { onProgress: "x" })],
  ["a keep's signal that is none", ({ adapters }) => adapters.keep(new Blob(["x"]), { signal: true })], ["a route's signal that is none", ({ adapters }) => adapters.route("x", { signal: "y" })]];
for (const [what, call] of ILL) {
  test(`training: ${what} is refused by name before anybody is asked`, async (t) => {
    const { session, stage } = await opened(t);
    await assert.rejects(call(session), { code: "invalid_option" });
    assert.deepEqual(stage.trained, []);
  });
}

test("training: options that there are not are refused at once", async (t) => {
  const { session } = await opened(t);
  for (const options of [{ rank: 4 }, null, "coder", { preset: "coder", LORA: {} }]) assert.throws(() => session.createTrainer(options), { code: "invalid_option" });
});

test("training: it is steered while it is under way, and not else", async (t) => {
  const { session, stage } = await opened(t);
  const trainer = session.createTrainer();
  await trainer.pause();
  assert.deepEqual(stage.trained, []);
  /** @type {any} */ let end;
  const begun = new Promise((resolve) => {
    stage.course = (_python, { emit }) => new Promise((done) => { end = done; resolve(emit); });
  });
  const training = trainer.train("x");
  const emit = await begun;
  await assert.rejects(trainer.train("x"), { code: "training_under_way" });
  emit({ kind: "paused" });
  await trainer.resume();
  await trainer.cancel();
  end({ ...DONE, reason: "cancelled" });
  assert.equal((await training).reason, "cancelled");
  assert.deepEqual([stage.trained.map(([kind]) => kind).filter((kind) => kind !== "line"), trainer.state], [["start", "resume", "cancel"], "stopped"]);
});

/** A training that ends when it is cancelled, as Python's do: it hears from its first event on. @param {Stage} stage */
const heeding = (stage) => {
  stage.course = async (_python, { emit }) => {
    const { length } = stage.trained; // a wish that comes too early is lost
    emit({ kind: "started" });
    while (!stage.trained.slice(length).some(([kind]) => kind === "cancel")) await new Promise((resolve) => { setImmediate(resolve); });
    return { ...DONE, reason: "cancelled" };
  };
};

/** @type {[string, (trainer: any, stop: AbortController) => void][]} */
const EARLY = [["cancel", (trainer) => trainer.cancel()], ["its signal", (_trainer, stop) => setImmediate(() => stop.abort(new RangeError("enough")))]];
for (const [what, end] of EARLY) {
  test(`training: ${what} right after the call is not lost`, async (t) => {
    const { session, stage } = await opened(t);
    heeding(stage);
    const [trainer, stop] = [session.createTrainer(), new AbortController()];
    const training = trainer.train(new Blob(["x"]), { signal: stop.signal }).catch((error) => error);
    end(trainer, stop);
    const result = await training;
    assert.deepEqual([result.reason ?? result.message, trainer.state], [what === "cancel" ? "cancelled" : "enough", "stopped"]);
  });
}

test("training: a second call is refused at once and harms nothing", async (t) => {
  const { session, stage } = await opened(t);
  heeding(stage);
  const trainer = session.createTrainer();
  const training = trainer.train(["x"]);
  await assert.rejects(trainer.train(["y"]), { code: "training_under_way" });
  assert.equal(trainer.state, "training");
  await trainer.cancel();
  assert.equal((await training).reason, "cancelled");
});

test("training: what is refused leaves the state that storage has, and a discard leaves none", async (t) => {
  const { session, stage } = await opened(t);
  const trainer = session.createTrainer();
  stage.course = async () => DONE;
  await trainer.train("x");
  await set(`runs/${trainer.id}.json`, bytes({ id: trainer.id, model: "m@1", created: "1", state: "done" }), keptStore());
  await assert.rejects(trainer.train([7]), { code: "not_text" });
  assert.equal(trainer.state, "done");
  await trainer.discard();
  assert.equal(trainer.state, "new");
});

test("training: one that is under way is not discarded, and one that begins as it is discarded can be steered", async (t) => {
  const { session, stage } = await opened(t);
  heeding(stage);
  const trainer = session.createTrainer();
  const training = trainer.train("x");
  await assert.rejects(trainer.discard(), { code: "training_under_way" });
  await trainer.cancel();
  await training;
  const [discarded, again] = [trainer.discard(), trainer.train("x")];
  await discarded;
  assert.equal(trainer.state, "training");
  await trainer.cancel();
  assert.equal((await again).reason, "cancelled");
});

test("training: one that is paused hears that its session is disposed", async (t) => {
  const { session, stage } = await opened(t);
  stage.course = async (python, { emit }) => {
    emit({ kind: "paused" });
    const told = line(stage);
    session.dispose();
    await told;
    while (!stage.trained.some(([kind]) => kind === "resume")) await new Promise((resolve) => { setImmediate(resolve); });
    return DONE;
  };
  await session.createTrainer().train("x");
  assert.deepEqual(stage.trained.slice(-2).map(([kind, what]) => [kind, what.id ? "its id" : what]), [["line", "disposed"], ["resume", "its id"]]);
});

test("training: what is refused does not end Python, which holds what was learned", async (t) => {
  const { session, stage } = await opened(t);
  stage.course = async () => { throw new RangeError("no"); };
  await assert.rejects(session.createTrainer().train("x"));
  assert.equal((await stage.loader.status()).python, true);
});

/** [whether the last checkpoint is in storage, whether Python is there when patience is over] @type {[boolean, boolean][]} */
const HELD = [[true, false], [false, true]];
for (const [kept, stays] of HELD) {
  test(`training: Python ${stays ? "stays" : "goes"} when ${kept ? "storage has what was learned" : "it alone has what was learned"}`, async (t) => {
    const { session, stage } = await opened(t);
    Object.assign(stage, { course: async () => DONE, more: { kept } });
    t.mock.timers.enable({ apis: ["setTimeout"] });
    await session.createTrainer().train("x");
    t.mock.timers.tick(120_000);
    assert.equal((await stage.loader.status()).python, stays);
  });
}

test("training: it can be cancelled while tokens are made, and nothing is left of it", async (t) => {
  const { session, stage } = await opened(t);
  stage.course = async (_python, { emit }) => {
    emit({ status: "progress", phase: "prepare", loaded: 1, total: 9, progress: 11 });
    while (!stage.trained.some(([kind]) => kind === "cancel")) await new Promise((resolve) => { setImmediate(resolve); });
    return { ...DONE, step: 0, reason: "cancelled" };
  };
  const [trainer, told] = [session.createTrainer(), []];
  const training = trainer.train("text", { onProgress: ({ phase, progress }) => told.push([phase, progress]) });
  await trainer.cancel();
  assert.deepEqual([(await training).reason, trainer.state, told], ["cancelled", "new", [["prepare", 11]]]);
});

test("training: a signal cancels it, and the call rejects with its reason", async (t) => {
  const { session, stage } = await opened(t);
  const stop = new AbortController();
  stage.course = async () => {
    stop.abort(new RangeError("enough"));
    return { ...DONE, reason: "cancelled" };
  };
  const trainer = session.createTrainer();
  await assert.rejects(trainer.train("x", { signal: stop.signal }), { message: "enough" });
  assert.equal(trainer.state, "stopped");
});

test("training: a worker that died is started again and lent anew; a disposed session is told", async (t) => {
  const { session, stage } = await opened(t);
  const again = line(stage);
  stage.course = async (python) => {
    const next = line(stage);
    stage.workers.at(-1).die();
    await next;
    const asked = await python.lent.call("lm.encode", { text: "c" });
    const told = line(stage);
    session.dispose();
    await told;
    return { ...DONE, tokens: asked.tokens };
  };
  const result = await session.createTrainer().train("x").catch((error) => error.code);
  await again;
  assert.deepEqual([stage.trained.filter(([kind]) => kind === "line").map(([, what]) => what), stage.workers.length], [["given", "given", "disposed"], 2]);
  assert.equal(result.tokens?.[0], 99);
});

/** [the browser's error, what it is called here] @type {[string, string][]} */
const FAILURES = [["QuotaExceededError", "quota_exceeded"], ["UnknownError", "storage"]];
for (const [name, code] of FAILURES) {
  test(`training: storage that fails with ${name} is named`, async (t) => {
    const { session } = await opened(t);
    const { indexedDB } = /** @type {any} */ (globalThis);
    indexedDB.fail = new DOMException("no", name);
    await assert.rejects(session.trainers(), { code });
  });
}

test("training: an ONNX decoder says that it is not trained", async (t) => {
  const stage = new Stage(t);
  stage.manifest = { ...MANIFEST, artifacts: { model: { filename: "decoder.onnx" } } };
  const session = await stage.loader.load("m");
  await assert.rejects(session.createTrainer().train("x"), { code: "not_supported" });
});

test("training: what a killed tab left without a record is deleted, and nothing else", async (t) => {
  await opened(t);
  const store = keptStore();
  const whole = ["runs/a.json", "runs/a.tokens", "runs/a.checkpoint", "library/b.json", "ready/b"];
  for (const key of [...whole, "runs/b.tokens", "runs/c.checkpoint", "runs/d.tokens", "runs/d.checkpoint"]) await set(key, bytes("x"), store);
  await sweepRuns(store);
  assert.deepEqual((await keys(store)).toSorted(), whole.toSorted());
});

test("training: what is kept is listed without Python, of this model alone, the latest first", async (t) => {
  const { session, stage } = await opened(t);
  const store = keptStore();
  const run = (id, more) => set(`runs/${id}.json`, bytes({ id, model: "m@1", created: id, state: "stopped", step: 1, ...more }), store);
  await Promise.all([run("1", {}), run("2", {}), run("3", { model: "other@1" }), set("runs/4.json", bytes("{"), store)]);
  assert.deepEqual(await session.trainers(), ["2", "1"].map((id) => ({ id, created: id, state: "stopped", step: 1 })));
  assert.equal((await session.resumeTrainer("1")).state, "stopped");
  await assert.rejects(session.resumeTrainer("3"), { code: "not_found" });
  assert.deepEqual(await session.adapters.saved(), []);
  const adapter = (id, turn, base_id) => set(`library/${id}.json`, bytes({ name: id, base_id, turn, rank: 2, modules: [], bytes: 8, family: "f", created: "c", metrics: {} }), store);
  await Promise.all([adapter("a", 1, "base"), adapter("b", 2, "base"), adapter("c", 3, "another"), set("bases/m@1", bytes("base"), store), set("ready/a", bytes("x"), store)]);
  assert.deepEqual((await session.adapters.saved()).map(({ id, baseId }) => [id, baseId]), [["b", "base"], ["a", "base"]]);
  await assert.rejects(session.adapters.load({ saved: "c" }), { code: "adapter_not_found" });
  assert.deepEqual(stage.trained, []);
});

test("training: one whose model is gone is forgotten without loading it", async (t) => {
  const { session, stage } = await opened(t);
  const store = keptStore();
  for (const end of [".json", ".tokens", ".checkpoint"]) await set(`runs/left${end}`, bytes({ model: "m@1", created: "c" }), store);
  await session.dispose();
  const { length } = stage.workers;
  await stage.loader.discardTraining("left");
  assert.deepEqual([await keys(store), stage.workers.length, stage.trained], [[], length, []]);
});

test("adapters: one that is pinned is loaded so, at once and after a reload, and who is loaded is used last; none of it takes Python", async (t) => {
  const { session, stage, worker } = await opened(t);
  const store = keptStore();
  const record = (id, turn) => ({ name: id, base_id: "base", created: "2026-01-01T00:00:00Z", last_used: "2026-01-01T00:00:00Z", turn, rank: 2, modules: [], bytes: 8, family: "f", metrics: {}, pinned: false, profile: null });
  for (const [i, id] of ["a", "b"].entries()) await Promise.all([set(`library/${id}.json`, bytes(record(id, i)), store), set(`ready/${id}`, ready(id), store)]);
  await set("bases/m@1", bytes("base"), store);
  await session.adapters.load({ saved: "a" });
  assert.equal(worker.adapters.get("a").pinned, false);
  assert.equal((await session.adapters.pin("a")).pinned, true);
  assert.equal(worker.adapters.get("a").pinned, true, "where it is loaded");
  await session.adapters.pin("b");
  assert.deepEqual([...worker.adapters.keys()], ["a"], "what is not loaded stays so");
  await session.adapters.unload("a");
  await session.adapters.load({ saved: "a" });
  await session.adapters.load({ saved: "b" }, { pinned: false });
  assert.deepEqual([worker.adapters.get("a").pinned, worker.adapters.get("b").pinned], [true, false]);
  const used = (await session.adapters.saved()).toSorted((x, y) => y.lastUsed.localeCompare(x.lastUsed));
  assert.ok(used.every(({ lastUsed, pinned }) => pinned && lastUsed > "2026-01-02"));
  await assert.rejects(session.adapters.pin("a", /** @type {any} */ ("yes")), { code: "invalid_option" });
  await assert.rejects(session.adapters.pin("gone"), { code: "adapter_not_found" });
  assert.deepEqual(stage.trained, []);
});
