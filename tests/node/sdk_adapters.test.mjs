/** `session.adapters` over played workers: what goes through Python, what a request is asked with, what a new worker is given. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { KINDS } from "../../web/sdk/frame-server.js";
import { openAI } from "../../web/sdk/openai.js";
import { MANIFEST, Stage, ready } from "./played_lm.mjs";

const PUBLISHED = { ...MANIFEST, artifacts: { ...MANIFEST.artifacts, adapted: { filename: "adapted.json" } } };

/** A session on a played stage; `published`: its model came with what the engine needs to take adapters. */
async function opened(t, { published = true } = {}) {
  const stage = new Stage(t);
  if (published) stage.manifest = PUBLISHED;
  return { stage, session: await stage.loader.load("m"), get worker() { return stage.workers.at(-1); } };
}

const blob = (name) => new Blob([ready(name)]);
const PEFT = [new File(["{}"], "adapter_config.json"), new File([new Uint8Array(9)], "adapter_model.safetensors")];

/** [what it is, source, published, kinds of Python's, the id it has] @type {[string, any, boolean, string[], string][]} */
const SOURCES = [
  ["bytes made ready", ready("mine"), true, [], "mine"],
  ["a file made ready", blob("mine"), true, [], "mine"],
  ["a file made ready, of a model published without", { file: blob("mine") }, false, ["adapted", "adapted"], "mine"],
  ["a folder of PEFT", { files: PEFT }, true, ["bind", "bind"], "adapter_config.json+adapter_model.safetensors"],
  ["a folder of PEFT, of a model published without", { files: PEFT }, false, ["bind", "bind", "adapted"], "adapter_config.json+adapter_model.safetensors"],
  ["any other file", new File(["GGUF"], "a.gguf"), true, ["bind", "bind"], "a.gguf"],
  ["a file that is too short to say anything", new File(["?"], "a.json"), true, ["bind", "bind"], "a.json"],
];
for (const [what, source, published, python, id] of SOURCES) {
  test(`adapters: ${what} is loaded${python.length ? ", by Python" : " without Python"}`, async (t) => {
    const { session, stage, worker } = await opened(t, { published });
    assert.equal((await session.adapters.load(source)).id, id);
    assert.deepEqual([stage.python, (await session.adapters.list()).adapters], [python, [{ id }]]);
    assert.deepEqual(worker.adapters.get(id), { pinned: false, document: published ? undefined : { capacity: { rows: 32 } } });
  });
}

test("adapters: what a model was published without is compiled once", async (t) => {
  const { session, stage } = await opened(t, { published: false });
  await Promise.all(["a", "b"].map((id) => session.adapters.load(blob(id))));
  assert.deepEqual(stage.python, ["adapted", "adapted"]);
});

/** [what is given, the option, what the engine is asked with] @type {[string, any, any[]][]} */
const CHOICES = [
  ["nothing", undefined, [{ id: "used", scale: 0.5 }]],
  ["null", null, [{ id: "used", scale: 0.5 }]],
  ["none", [], []],
  ["an id", "a", [{ id: "a", scale: 1 }]],
  ["several, with a scale", ["a", { id: "b", scale: -2 }], [{ id: "a", scale: 1 }, { id: "b", scale: -2 }]],
];
for (const [what, adapters, asked] of CHOICES) {
  test(`adapters: a request that names ${what}`, async (t) => {
    const { session, worker } = await opened(t);
    session.adapters.use({ id: "used", scale: 0.5 });
    await session.generate("x", { adapters });
    await session.stream({ prompt: "x" }, { adapters }).result;
    assert.deepEqual(worker.asked.map(({ options }) => options.adapters), [asked, asked]);
  });
}

test("adapters: what is used by default can be changed and taken back, and goes with an adapter that is unloaded", async (t) => {
  const { session, worker } = await opened(t);
  await session.adapters.load(blob("a"), { id: "mine", pinned: true });
  session.adapters.use(["mine", "other"]);
  await session.adapters.unload("mine");
  assert.deepEqual(session.adapters.used, [{ id: "other", scale: 1 }]);
  session.adapters.use(null);
  await session.generate("x");
  assert.deepEqual(worker.asked[0].options.adapters, []);
  await assert.rejects(session.adapters.unload("mine"), { code: "adapter_not_found" });
});

/** @type {[string, any][]} */
const WRONG = [["a number", 7], ["no id", [{ scale: 1 }]], ["a scale that is none", [{ id: "a", scale: NaN }]], ["a scale beyond sense", [{ id: "a", scale: 1e9 }]]];
for (const [what, adapters] of WRONG) {
  test(`adapters: ${what} is refused before anything is asked`, async (t) => {
    const { session, worker } = await opened(t);
    await assert.rejects(session.generate("x", { adapters }), { code: "invalid_option" });
    assert.deepEqual(worker.asked, []);
  });
}

test("adapters: a source that is none is refused by name; an encoder has none", async (t) => {
  const { session, stage } = await opened(t);
  await assert.rejects(session.adapters.load(/** @type {any} */ ({ folder: 1 })), { code: "invalid_option" });
  stage.manifest = { ...MANIFEST, type: "embedding" };
  const local = { manifest: stage.manifest, load: {} };
  const { LanguageSession } = await import("../../web/sdk/language-session.js");
  const encoder = new LanguageSession(stage.loader, await stage.loader.ask("hub.open", { local }));
  assert.throws(() => encoder.adapters, { code: "not_supported" });
});

test("adapters: a worker that died is given them again, pinned as they were; one that it refuses is told", async (t) => {
  const own = await opened(t, { published: false });
  const { session, stage } = own;
  for (const [id, pinned] of /** @type {[string, boolean][]} */ ([["a", false], ["b", true], ["gone", false], ["c", false]])) await session.adapters.load(blob(id), { id, pinned });
  await session.adapters.unload("gone");
  stage.refused = "c";
  own.worker.die();
  await session.generate("x", { adapters: "b" });
  assert.deepEqual([...own.worker.adapters].map(([id, { pinned, document }]) => [id, pinned, document.capacity.rows]), [["a", false, 32], ["b", true, 32]]);
  assert.deepEqual(stage.said.filter((code) => code === "adapter_lost"), ["adapter_lost"]);
  assert.deepEqual(stage.python.length, 2, "compiled once");
});

/** [what it was trained on, its base_sha256, that of the model's file, whether that is said] @type {[string, string, string | undefined, boolean][]} */
const TRAINED_ON = [["another file of the model", "a".repeat(64), "b".repeat(64), true], ["this very file", "a".repeat(64), "a".repeat(64), false],
  ["nobody told what", "", "b".repeat(64), false], ["some file, and of the model's nobody knows the hash", "a".repeat(64), undefined, false]];
for (const [what, base, sha256, said] of TRAINED_ON) {
  test(`adapters: one that was trained on ${what} is loaded${said ? ", with a notice" : ""}`, async (t) => {
    const stage = new Stage(t);
    stage.manifest = { ...PUBLISHED, artifacts: { ...PUBLISHED.artifacts, model: /** @type {any} */ ({ filename: "m.gguf", sha256 }) } };
    const session = await stage.loader.load("m");
    await session.adapters.load(ready("mine", { base_sha256: base }));
    assert.equal(stage.said.includes("adapter_other_file"), said);
  });
}

test("adapters: an ONNX decoder takes none, and says so", async (t) => {
  const stage = new Stage(t);
  stage.manifest = { ...MANIFEST, artifacts: /** @type {any} */ ({ model: { filename: "onnx/model.onnx" } }) };
  const session = await stage.loader.load("m");
  for (const work of [() => session.adapters.load(blob("a")), () => session.adapters.list()]) await assert.rejects(work, { code: "not_supported" });
});

test("adapters: a worker that dies while they are given to it again loses none of them", async (t) => {
  const own = await opened(t);
  const { session, stage } = own;
  await session.adapters.load(blob("a"));
  own.worker.die();
  stage.dying = 1;
  await assert.rejects(session.generate("x", { adapters: "a" }), { code: "worker_died" });
  await session.generate("x", { adapters: "a" });
  assert.deepEqual([[...own.worker.adapters.keys()], stage.said.includes("adapter_lost")], [["a"], false]);
});

test("openai: an adapter is named in the model or in a field of its own", async (t) => {
  const { session, worker } = await opened(t);
  const { chat, completions } = openAI(() => session);
  const asked = { prompt: "x", max_tokens: 1 };
  const found = [];
  for (const request of [{ model: "m:mine" }, { model: "m" }, { model: "another:mine" }, { adapters: [{ id: "a", scale: 2 }] }]) found.push((await completions.create({ ...asked, ...request })).model);
  assert.deepEqual(worker.asked.map(({ options: { adapters } }) => adapters), [[{ id: "mine", scale: 1 }], [], [], [{ id: "a", scale: 2 }]]);
  assert.deepEqual(found, ["m:mine", "m", "m", "m"]);
  for await (const { model } of await chat.completions.create({ messages: [{ role: "user", content: "x" }], model: "m:mine", stream: true })) assert.equal(model, "m:mine");
  await assert.rejects(completions.create({ ...asked, model: "m:mine", adapters: "a" }), { code: "invalid_option" });
});

test("frames: a page may load, unload and list adapters, and read no part of a model's files", () => {
  assert.ok(["lm.adapters.load", "lm.adapters.unload", "lm.adapters.list"].every((kind) => KINDS.has(kind)));
  assert.ok(["lm.source", "python.bind", "python.adapted"].every((kind) => !KINDS.has(kind)));
});
