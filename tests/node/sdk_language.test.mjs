/** Sessions of language models over played workers: what is asked, what is refused, what happens when a worker dies. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Hub } from "../../web/sdk/hub.js";
import { runtimeOf } from "../../web/sdk/language-desk.js";
import { LanguageSession } from "../../web/sdk/language-session.js";
import { MEMORY, Stage } from "./played_lm.mjs";

/** A session on a played stage. */
async function opened(t, options) {
  const stage = new Stage(t, options);
  const session = await stage.loader.load("m");
  return { stage, session, worker: stage.workers[0] };
}

async function all(iterator) {
  const found = [];
  for await (const piece of iterator) found.push(piece);
  return found;
}

test("language: generate answers the text, and complete everything about it", async (t) => {
  const { session } = await opened(t);
  assert.equal(await session.generate("one two three"), "one two three");
  const { text, reason, usage, seed } = await session.complete({ prompt: "one two three" }, { maxTokens: 2, seed: 7 });
  assert.deepEqual({ text, reason, usage, seed }, { text: "one two ", reason: "length", usage: { prompt: 3, completion: 2, cached: 1 }, seed: 7 });
});

test("language: pieces come one by one and are the whole text; the result tells the rest", async (t) => {
  const { session } = await opened(t);
  const stream = session.generateStream("one two three");
  assert.deepEqual(await all(stream), ["one ", "two ", "three"]);
  assert.equal((await stream.result).usage.completion, 3);
});

test("language: pieces asked for all at once are told in order", async (t) => {
  const { session } = await opened(t);
  const stream = session.generateStream("one two");
  const found = await Promise.all([stream.next(), stream.next(), stream.next()]);
  assert.deepEqual(found.map(({ value, done }) => [value, done]), [["one ", false], ["two", false], [undefined, true]]);
});

test("language: the result of a stream is there for who does not read its pieces", async (t) => {
  const { session } = await opened(t);
  assert.equal((await session.generateStream("one two").result).text, "one two");
});

test("language: leaving the loop ends the generation in the worker", async (t) => {
  const { session, worker, stage } = await opened(t);
  for await (const piece of session.generateStream("one two three four five six")) if (piece === "two ") break;
  while (stage.running) await new Promise(setImmediate);
  assert.equal(worker.cancelled, 1);
});

test("language: a cancel rejects with its reason, sets the abort word, and the session goes on", async (t) => {
  const stage = new Stage(t);
  const abort = new Int32Array(new SharedArrayBuffer(4));
  stage.load = { abort };
  const session = await stage.loader.load("m");
  const controller = new AbortController();
  const stream = session.generateStream("one two three", {}, { signal: controller.signal });
  await stream.next();
  controller.abort();
  await assert.rejects(all(stream), { name: "AbortError" });
  await assert.rejects(stream.result, { name: "AbortError" });
  assert.equal(abort[0], 1);
  assert.equal(await session.generate("after"), "after");
  await assert.rejects(session.generate("x", {}, { signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("language: progress tells how much of the prompt was read", async (t) => {
  const { session } = await opened(t);
  const seen = [];
  await session.chat([{ role: "user", content: "one two" }], {}, { onProgress: ({ phase, loaded, total }) => seen.push([phase, loaded, total]) });
  assert.deepEqual(seen, [["prefill", 2, 2]]);
});

test("language: tokens, memory and clearing", async (t) => {
  const { session, worker } = await opened(t);
  assert.deepEqual(await session.encode("ab"), [97, 98]);
  assert.equal(await session.decode([97, 98]), "ab");
  assert.deepEqual([await session.countTokens("abc"), await session.countTokens(["a", "bc"])], [3, [1, 2]]);
  assert.deepEqual(session.getMemoryInfo(), { indexBytes: 0, ...MEMORY });
  await session.clearKVCache();
  assert.ok(worker.cleared);
  assert.deepEqual([session.type, session.maxTokens, session.trust, session.info.build], ["text-generation", 64, "signed", "simd"]);
});

/** [what is asked, the call, the error's code, what its message must say] @type {[string, (s: any) => any, string, RegExp][]} */
const REFUSED = [
  ["an unknown option", (s) => s.generate("x", { max_tokens: 5 }), "invalid_option", /max_tokens.*maxTokens/],
  ["a temperature below nothing", (s) => s.generate("x", { temperature: -1 }), "invalid_option", /temperature.*from 0/],
  ["no token at all", (s) => s.generate("x", { maxTokens: 0 }), "invalid_option", /maxTokens/],
  ["a share above one", (s) => s.generate("x", { topP: 1.5 }), "invalid_option", /topP/],
  ["a seed that is no whole number", (s) => s.generate("x", { seed: 0.5 }), "invalid_option", /seed/],
  ["an empty stop sequence", (s) => s.generate("x", { stopSequences: ["a", ""] }), "invalid_option", /stopSequences/],
  ["a policy that does not exist", (s) => s.generate("x", { contextPolicy: "slide" }), "invalid_option", /contextPolicy/],
  ["a prompt that is no text", (s) => s.generate(7), "not_text", /number/],
  ["no message", (s) => s.chat([]), "empty_batch", /role/],
  ["a message without content", (s) => s.chat([{ role: "user" }]), "not_text", /content of message 0/],
  ["both a prompt and messages", (s) => s.complete({ prompt: "x", messages: [] }), "invalid_option", /exactly one/],
  ["a token that is none", (s) => s.complete({ tokens: [1, -1] }), "invalid_option", /item 1/],
  ["a vector", (s) => s.embed("x"), "not_supported", /text-generation.*generate/],
  ["a vector index", (s) => s.index, "not_supported", /index/],
  ["teaching", (s) => s.teach.mark({}), "not_supported", /teach/],
];
for (const [what, work, code, message] of REFUSED) {
  test(`language: ${what} is refused by name, before anything is sent`, async (t) => {
    const { session, worker } = await opened(t);
    await assert.rejects(async () => work(session), (/** @type {any} */ error) => error.code === code && message.test(error.message));
    assert.deepEqual(worker.asked, []);
  });
}

test("language: an encoder of the user's own embeds and generates nothing", async (t) => {
  const stage = new Stage(t);
  const local = { manifest: { ...stage.manifest, type: "embedding" }, load: {} };
  const session = new LanguageSession(stage.loader, await stage.loader.ask("hub.open", { local }));
  stage.workers[0]["lm.embed"] = ({ texts }) => ({ vectors: new Float32Array(texts.flatMap(() => [0.6, 0.8])) });
  assert.ok(Math.abs(await session.similarity("a", "b") - 1) < 1e-6);
  await assert.rejects(session.generate("x"), { code: "not_supported" });
  await assert.rejects(session.embedBatch(["a", " "]), { code: "empty_text" });
});

test("language: each model has a worker of its own, which ends with its session", async (t) => {
  const { stage, session } = await opened(t);
  const other = await stage.loader.load("m");
  assert.equal(stage.alive.length, 2);
  await session.dispose();
  await new Promise(setImmediate);
  assert.equal(stage.alive.length, 1);
  await assert.rejects(session.generate("x"), { code: "disposed" });
  assert.equal(await other.generate("y"), "y");
  stage.loader.dispose();
  await new Promise(setImmediate);
  assert.equal(stage.alive.length, 0);
});

test("language: one model too many ends the one used longest ago", async (t) => {
  const { stage, session } = await opened(t, { memory: { maxModels: 1 } });
  await stage.loader.load("m");
  await assert.rejects(session.generate("x"), { code: "disposed" });
  assert.ok(stage.said.includes("session_evicted"));
});

test("language: what waits on a dying worker is told, and the next calls share one new worker with the model loaded again", async (t) => {
  const { stage, session, worker } = await opened(t);
  const waiting = session.generate("never");
  while (!worker.asked.length) await new Promise(setImmediate);
  worker.die();
  await assert.rejects(waiting, { code: "worker_died" });
  assert.deepEqual(await Promise.all([session.generate("one"), session.generate("two")]), ["one", "two"]);
  assert.deepEqual([stage.workers.length, stage.workers[1].loaded.id], [2, "m"]);
  assert.deepEqual(stage.said.filter((code) => code !== "engine_build"), ["engine_restarted"]);
});

test("language: a worker that says nothing for as long as patience lasts is ended", async (t) => {
  const { session, stage } = await opened(t, { testing: { patience: 40 } });
  await assert.rejects(session.generate("never"), { code: "engine_deadline" });
  assert.equal(await session.generate("again"), "again");
  assert.equal(stage.alive.length, 1);
  assert.deepEqual(stage.workers[1].loaded.without, ["simd"], "the build that hung is not tried again");
});

test("language: a load that fails, or is given up, leaves no worker behind", async (t) => {
  const stage = new Stage(t);
  stage.load = Object.defineProperty({}, "name", { enumerable: true, get() { throw new RangeError("no memory"); } });
  await assert.rejects(stage.loader.load("m"), /no memory/);
  const controller = new AbortController();
  stage.load = {};
  await assert.rejects(stage.loader.load("m", { signal: controller.signal, onProgress: ({ phase }) => phase === "repack" && controller.abort() }), { name: "AbortError" });
  assert.equal(stage.alive.length, 0);
});

test("language: a worker that still loads ends with its loader, and whoever waits is told", async (t) => {
  const stage = new Stage(t);
  stage.hanging = ["relaxed"];
  const loading = stage.loader.load("m");
  while (!stage.workers[0]?.loaded) await new Promise(setImmediate);
  stage.loader.dispose();
  await assert.rejects(loading, { code: "disposed" });
  assert.equal(stage.alive.length, 0);
});

test("language: a build that hangs while it is started makes room for the next one, which is said; a hang of all is told", async (t) => {
  const stage = new Stage(t, { testing: { patience: 40 } });
  const failed = [];
  stage.loader.addEventListener("fallback", (/** @type {any} */ { detail: { code } }) => { if (code === "engine_build_failed") failed.push(code); });
  stage.hanging = ["relaxed"];
  const session = await stage.loader.load("m");
  assert.equal(await session.generate("one"), "one");
  assert.deepEqual([stage.alive.length, stage.workers[1].loaded.without, failed], [1, ["relaxed"], ["engine_build_failed"]]);
  stage.hanging = ["relaxed", "simd", undefined];
  await assert.rejects(stage.loader.load("m"), { code: "engine_deadline" });
  assert.equal(stage.alive.length, 1);
});

test("language: after an engine broke under an answer its fallback is heard and a cancel sets the new engine's word", async (t) => {
  const stage = new Stage(t);
  const [before, after] = [new Int32Array(new SharedArrayBuffer(4)), new Int32Array(new SharedArrayBuffer(4))];
  stage.load = { abort: before };
  stage.recovery = [{ status: "fallback", code: "engine_build_failed", reason: "relaxed failed" }, { status: "notice", code: "engine_build", reason: "next", build: "next" }, { status: "recovered", abort: after }];
  const session = await stage.loader.load("m");
  const heard = new Promise((resolve) => stage.loader.addEventListener("fallback", (/** @type {any} */ { detail: { code } }) => code === "engine_build_failed" && resolve(code)));
  const controller = new AbortController();
  const stream = session.generateStream("broken two three", {}, { signal: controller.signal });
  await stream.next();
  assert.equal(await heard, "engine_build_failed");
  controller.abort();
  await assert.rejects(all(stream), { name: "AbortError" });
  assert.deepEqual([before[0], after[0]], [0, 1]);
  assert.equal((await stage.loader.status()).languages[0].build, "next");
});

test("language: a cancel is heard while a worker that died is loaded again", async (t) => {
  const { stage, session, worker } = await opened(t);
  stage.hanging = ["relaxed", "simd"];
  worker.die();
  const controller = new AbortController();
  const waiting = session.generate("x", {}, { signal: controller.signal });
  while (!stage.workers[1]?.loaded) await new Promise(setImmediate);
  controller.abort();
  await assert.rejects(waiting, { name: "AbortError" });
  assert.equal(stage.alive.length, 1);
});

test("language: threads are the worker's to choose, unless they are asked for", async (t) => {
  const { stage } = await opened(t);
  await stage.loader.load("m", { threads: 3 });
  assert.deepEqual(stage.workers.map(({ loaded }) => loaded.threads), [undefined, 1], "one where memory cannot be shared");
});

/** [manifest, worker, why] */
const RUNTIMES = [
  [{ type: "text-generation", artifacts: { model: { filename: "a.gguf" }, program: { filename: "program.json" } } }, "lm", "it has a Program"],
  [{ type: "embedding", artifacts: { model: { filename: "a.gguf" }, program: { filename: "program.json" } } }, "engine", "an encoder with a Program"],
  [{ type: "embedding", artifacts: { model: { filename: "model.onnx" } } }, "engine", "an encoder as ONNX"],
  [{ type: "text-generation", artifacts: { config: { filename: "config.json" }, model: { filename: "onnx/model_q4.onnx" } } }, "onnx", "a decoder as ONNX"],
];
for (const [manifest, want, why] of RUNTIMES) test(`language: ${why}: the ${want} worker runs it`, () => assert.equal(runtimeOf(/** @type {any} */ (manifest)), want));

test("language: a model that calls itself the user's own reaches nothing of the store", async (t) => {
  const stage = new Stage(t);
  const manifest = { id: "m", version: "1", type: "embedding", artifacts: {} };
  await assert.rejects(stage.loader.ask("hub.open", { local: { manifest, load: {} } }), { code: "not_supported" });
  await stage.loader.ask("hub.open", { local: { manifest: { ...manifest, type: "text-generation" }, load: { id: "m", version: "1" } } });
  assert.deepEqual([stage.workers[0].loaded.id, stage.workers[0].loaded.files], [undefined, {}]);
});

test("language: the Hub answers for open sessions alone", async (t) => {
  const stage = new Stage(t);
  const hub = new Hub({ urls: stage.loader.urls, options: stage.loader.options });
  t.after(() => hub.close());
  await assert.rejects(hub.call("lm.generate", { session: "nobody" }), { code: "disposed" });
  await assert.rejects(hub.call("lm.load", {}), { code: "disposed" });
});
