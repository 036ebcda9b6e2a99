/** Requests that choose their adapter by what is asked, over played workers: what is embedded, loaded, told; that Python takes no part. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { del, set } from "idb-keyval";
import { keptStore } from "../../web/loader/kept.js";
import { openAI } from "../../web/sdk/openai.js";
import { Stage, ready } from "./played_lm.mjs";

const PUBLISHED = { adapted: { filename: "adapted.json" } };
const bytes = (value) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

/** Of the words that it knows, each has a direction; a text is the sum of its words'. */
const WORDS = { cook: [1, 0, 0], code: [0, 1, 0], law: [0, 0, 1] };
const PROFILES = { cooking: WORDS.cook, coding: WORDS.code };

class PlayedEmbedder {
  operations = ["embed", "embedBatch"];
  id = "words";
  version = "1.0.0";
  /** @type {string[][]} */ asked = [];

  embed = async (text) => (await this.embedBatch([text]))[0];
  embedBatch = async (texts) => {
    this.asked.push(texts);
    if (this.broken) throw new RangeError("the network is gone");
    return texts.map((text) => Float32Array.from([0, 1, 2], (i) => Object.entries(WORDS).reduce((sum, [word, at]) => sum + (text.split(word).length - 1) * at[i], 1e-3)));
  };
}

/** A session, saved adapters of `profiles`, and the embedder that routes. */
async function opened(t, { router = true, profiles = PROFILES } = {}) {
  const stage = new Stage(t);
  stage.manifest = { ...stage.manifest, artifacts: { ...stage.manifest.artifacts, ...PUBLISHED } };
  const [session, embedder, store] = [await stage.loader.load("m"), new PlayedEmbedder(), keptStore()];
  const save = async (id, mean, model = "words@1.0.0") => {
    const profile = mean && { mean, count: 1, examples: ["x"], model };
    await set(`library/${id}.json`, bytes({ name: `what ${id} knows`, base_id: "base", turn: 1, rank: 2, modules: [], bytes: 8, family: "f", created: "c", metrics: {}, profile }), store);
    await set(`ready/${id}`, ready(id), store);
  };
  await set("bases/m@1", bytes("base"), store);
  for (const [id, mean] of Object.entries(profiles)) await save(id, mean);
  await save("undescribed", null);
  if (router) session.adapters.router = { embedder };
  return { stage, session, embedder, store, save, worker: stage.workers.at(-1) };
}

const used = (worker) => worker.asked.map(({ options: { adapters } }) => adapters.map(({ id, scale }) => `${id}*${scale}`).join());

/** [what is asked, who answers] @type {[string, any, string | null][]} */
const REQUESTS = [
  ["a prompt", { prompt: "cook me something" }, "cooking"],
  ["a chat's last question", { messages: [{ role: "user", content: "cook" }, { role: "assistant", content: "yes" }, { role: "user", content: "now code" }] }, "coding"],
  ["tokens", { tokens: [..."code"].map((c) => c.charCodeAt(0)) }, "coding"],
  ["what none is like", { prompt: "law and law" }, null],
  ["a blank prompt", { prompt: "  " }, null],
];
for (const [what, input, id] of REQUESTS) {
  test(`routing: ${what} is answered by ${id ?? "the base alone"}, and the answer says so`, async (t) => {
    const { session, stage, worker } = await opened(t);
    const whole = await session.complete(input, { adapters: "auto" });
    const streamed = await session.stream(input, { adapters: "auto" }).result;
    assert.deepEqual([whole, streamed].map(({ routed }) => routed && [routed.id, routed.name]), [id, id].map((one) => one && [one, `what ${one} knows`]));
    assert.ok(id === null || (whole.routed.score > 0.9 && whole.routed.score <= 1));
    assert.deepEqual(used(worker), id ? [`${id}*1`, `${id}*1`] : ["", ""]);
    assert.deepEqual([[...worker.adapters.keys()], stage.python, stage.trained], [id ? [id] : [], [], []], "loaded from what is kept, without Python");
  });
}

test("routing: a model that nobody trained here finds its adapters by the base that it was published with", async (t) => {
  const { session, stage, store } = await opened(t);
  await del("bases/m@1", store);
  stage.base = "base";
  assert.equal((await session.complete({ prompt: "code" }, { adapters: "auto" })).routed.id, "coding");
  assert.deepEqual(stage.trained, []);
});

test("routing: what is used by default may be chosen too; a request that names its own is not routed", async (t) => {
  const { session, worker, embedder } = await opened(t, { router: false });
  session.adapters.use("auto", { embedder });
  assert.equal(session.adapters.used, "auto");
  assert.deepEqual([await session.generate("code"), (await session.complete({ prompt: "code" }, { adapters: [] })).routed], ["code", undefined]);
  session.adapters.use(null);
  await session.generate("code");
  assert.deepEqual([used(worker), embedder.asked.length], [["coding*1", "", ""], 1]);
});

test("routing: an adapter that is loaded already is not loaded again", async (t) => {
  const { session, worker } = await opened(t);
  let loads = 0;
  const load = worker["lm.adapters.load"];
  worker["lm.adapters.load"] = (args) => (loads++, load.call(worker, args));
  for (const word of ["code", "cook", "code"]) await session.generate(word, { adapters: "auto" });
  assert.deepEqual([used(worker), loads], [["coding*1", "cooking*1", "coding*1"], 2]);
});

test("routing: candidates come likest first, at least as like as the threshold, of the embedding model that asks", async (t) => {
  const { session, embedder, save } = await opened(t);
  const found = async (...args) => (await session.adapters.route(...args)).map(({ id, score }) => [id, Math.round(10 * score)]);
  assert.deepEqual(await found("code code cook"), [["coding", 9], ["cooking", 4]]);
  assert.deepEqual(await found(Float32Array.of(1, 0, 0)), [["cooking", 10]]);
  assert.deepEqual(await found("code code cook", { threshold: 0.5 }), [["coding", 9]]);
  assert.deepEqual(await found("code", { embedder: async () => embedder }), [["coding", 10]], "who answers one, when it is needed");
  assert.deepEqual(await found("code", { embedder: Object.assign(new PlayedEmbedder(), { version: "2.0.0" }) }), []);
  await save("newer", WORDS.code, "words@2.0.0");
  assert.deepEqual(await found("code", { embedder: Object.assign(new PlayedEmbedder(), { version: "2.0.0" }) }), [["newer", 10]]);
  await assert.rejects(session.adapters.route([0, 0, 0]), { code: "not_finite" });
});

test("routing: without anything described the base answers, and one that is removed meanwhile is passed over", async (t) => {
  const nothing = await opened(t, { profiles: {} });
  assert.equal((await nothing.session.complete({ prompt: "code" }, { adapters: "auto" })).routed, null);
  assert.deepEqual(nothing.embedder.asked, [], "no embedding model is needed for that");
  const { session, store, worker } = await opened(t, { profiles: { coding: WORDS.code, tools: [0.1, 1, 0] } });
  const { list } = session.adapters;
  session.adapters.list = async () => (await Promise.all([del("library/coding.json", store), del("ready/coding", store)]), list.call(session.adapters));
  assert.equal((await session.complete({ prompt: "code" }, { adapters: "auto" })).routed.id, "tools");
  assert.deepEqual(used(worker), ["tools*1"]);
});

for (const [what, profiles, id] of /** @type {[string, any, string | null][]} */ ([["the next that is like it", { coding: WORDS.code, tools: [0.3, 1, 0] }, "tools"], ["the base", { coding: WORDS.code, cooking: WORDS.cook }, null]])) {
  test(`routing: where the likest has no room beside pinned ones, ${what} answers, and a notice says so`, async (t) => {
    const { session, stage, worker } = await opened(t, { profiles });
    const said = [];
    stage.loader.addEventListener("notice", ({ detail }) => said.push(detail));
    stage.crowded = "coding";
    assert.equal((await session.complete({ prompt: "code" }, { adapters: "auto" })).routed?.id ?? null, id);
    stage.crowded = stage.evicted = undefined;
    assert.equal((await session.complete({ prompt: "code" }, { adapters: "auto" })).routed.id, "coding");
    [stage.crowded, stage.evicted] = ["coding", "coding"]; // known to the engine, out of its pool
    await session.complete({ prompt: "code" }, { adapters: "auto" });
    assert.deepEqual(used(worker), [id ? `${id}*1` : "", "coding*1", id ? `${id}*1` : ""]);
    assert.deepEqual(said.map(({ code }) => code), ["adapter_passed_over", "adapter_passed_over"]);
    assert.match(said[0].reason, id ? /what tools knows/ : /the model answers without/);
  });
}

test("routing: who answers the embedder is asked when it is needed, once, and again after a failure", async (t) => {
  const { session, embedder } = await opened(t);
  let asked = 0;
  const answers = [async () => { throw new RangeError("offline"); }, () => embedder];
  session.adapters.router = { embedder: () => answers[asked++]() };
  await assert.rejects(session.generate("code", { adapters: "auto" }), /offline/);
  assert.equal(asked, 1, "not before");
  for (const word of ["code", "cook"]) assert.ok((await session.complete({ prompt: word }, { adapters: "auto" })).routed);
  assert.equal(asked, 2);
});

test("routing: an embedder's session that was disposed to make room is asked for anew, by many requests once", async (t) => {
  const { session, embedder } = await opened(t);
  const answers = [Object.assign(new PlayedEmbedder(), { disposed: false }), embedder];
  let asked = 0;
  session.adapters.router = { embedder: () => answers[asked++] };
  await session.generate("code", { adapters: "auto" });
  answers[0].disposed = true;
  const routed = await Promise.all(["code", "cook"].map((word) => session.complete({ prompt: word }, { adapters: "auto" })));
  assert.deepEqual([routed.map(({ routed }) => routed?.id), asked, answers[0].asked.length], [["coding", "cooking"], 2, 1]);
});

/** [what, what is done, code] @type {[string, (session: any, embedder: any) => any, string][]} */
const WRONG = [
  ["a request without a router", (session) => session.generate("x", { adapters: "auto" }), "adapter_router_missing"],
  ["a stream without a router", (session) => session.stream({ prompt: "x" }, { adapters: "auto" }).result, "adapter_router_missing"],
  ["a default without a router", (session) => session.adapters.use("auto"), "adapter_router_missing"],
  ["a search without a router", (session) => session.adapters.route("x"), "adapter_router_missing"],
  ["a description without a router", (session) => session.adapters.describe("coding", "x"), "adapter_router_missing"],
  ["a router that is none", (session) => { session.adapters.router = { embedder: session }; }, "invalid_option"],
  ["a threshold that is none", (session, embedder) => session.adapters.use("auto", { embedder, threshold: 2 }), "invalid_option"],
  ["one who answers no embedder", (session) => session.adapters.route("x", { embedder: () => session }), "invalid_option"],
  ["no text to describe by", (session, embedder) => session.adapters.describe("coding", [" "], { embedder }), "empty_text"],
  ["no texts", (session, embedder) => session.adapters.describe("coding", [7], { embedder }), "not_text"],
];
for (const [what, work, code] of WRONG) {
  test(`routing: ${what} is refused by name before anything is asked`, async (t) => {
    const { session, embedder, worker, stage } = await opened(t, { router: false });
    await assert.rejects(async () => work(session, embedder), { code });
    assert.deepEqual([session.adapters.used, session.adapters.router, worker.asked, stage.trained], [[], null, [], []]);
  });
}

// --- what an adapter is described by
const TRAINED = { id: "new", run: "r", name: "n", metrics: {}, sample: ["code", "code code"], packed: new Blob(["p"]), ready: new Blob([ready("new")]) };
const profileOf = (stage) => stage.trained.find(([kind]) => kind === "keep")[1].profile;

/** [what, the router's embedder is there, options of `keep`, whether it is described] @type {[string, boolean, (embedder: any) => any, boolean][]} */
const KEPT = [
  ["by the router", true, () => ({}), true],
  ["by an embedder of its own", false, (embedder) => ({ embedder }), true],
  ["by nobody", false, () => ({}), false],
  ["by nobody, where that is wished", true, () => ({ embedder: null }), false],
];
for (const [what, router, options, described] of KEPT) {
  test(`routing: what was trained is described ${what} when it is kept`, async (t) => {
    const { session, stage, embedder } = await opened(t, { router });
    await session.adapters.keep(TRAINED, options(embedder)).catch(() => {}); // the played Python keeps nothing
    const { mean, ...rest } = profileOf(stage) ?? { mean: [] };
    assert.deepEqual(rest, described ? { count: 2, examples: TRAINED.sample, model: "words@1.0.0" } : {});
    assert.equal(mean.length === 3 && mean[1] > 0.99, described);
  });
}

test("routing: a router that fails costs no adapter, and is told; an embedder that was asked for by name does", async (t) => {
  const { session, stage, embedder } = await opened(t);
  embedder.broken = true;
  await assert.rejects(session.adapters.keep(TRAINED, { embedder }), /the network is gone/);
  assert.deepEqual(stage.trained, []);
  await session.adapters.keep(TRAINED).catch(() => {});
  await new Promise(setImmediate);
  assert.deepEqual([profileOf(stage), stage.said.includes("adapter_not_described")], [undefined, true]);
});

test("openai: an answer says which adapter was chosen, whole or streamed; other answers have nothing more", async (t) => {
  const { session } = await opened(t);
  const { chat, completions } = openAI(() => session);
  const messages = [{ role: "user", content: "code" }];
  const whole = await chat.completions.create({ messages, adapters: "auto" });
  const named = await completions.create({ prompt: ["cook", "law"], model: "m:auto" });
  let last;
  for await (const chunk of await chat.completions.create({ messages, adapters: "auto", stream: true })) last = chunk.choices[0];
  assert.deepEqual([whole, named].map(({ choices }) => choices.map(({ routed }) => routed?.id)), [["coding"], ["cooking", undefined]]);
  assert.deepEqual([last.routed.id, last.finish_reason, named.choices[1].routed, named.model], ["coding", "stop", null, "m:auto"]);
  assert.ok(!("routed" in (await completions.create({ prompt: "code" })).choices[0]));
});
