/** Automatic, as the app has it: when it can be chosen, what it asks of the session, what comes back after a reload or a deletion. The session is played. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { toldOf } from "../../web/app/language/report.js";
import { observable } from "../../web/app/observable.js";
import { AUTO, AdapterShelf } from "../../web/app/personalise/shelf.js";
import { MemoryDatabase } from "./memory_db.mjs";
import { PlayedSession } from "./played_trainer.mjs";

const turn = () => new Promise((resolve) => { setImmediate(resolve); });
const EMBEDDER = { id: "minilm" };
const profile = (name) => ({ examples: [`about ${name}`], model: "minilm" });
const trained = (name) => ({ id: `id-${name}`, name, metrics: {}, sample: [`about ${name}`] });

/** A shelf whose model is loaded. */
async function shelved({ session = new PlayedSession(), db = new MemoryDatabase(), embedder = async () => /** @type {any} */ (EMBEDDER) } = {}) {
  const language = { session, chosen: observable({ key: "m" }), phase: observable({ name: "loading" }), ready: async () => session };
  const errors = [];
  const shelf = new AdapterShelf({ language: /** @type {any} */ (language), db, embedder, onError: (error) => errors.push(error) });
  language.phase.set({ name: "ready" });
  await turn();
  return { session, db, language, shelf, errors, embedder };
}

test("automatic: what is taught here can be chosen by what is asked, what comes from elsewhere cannot", async () => {
  const { session, shelf, embedder } = await shelved();
  assert.deepEqual([session.adapters.router, shelf.described], [{ embedder }, false]);
  await shelf.import([Object.assign(new File(["x"], "x.zip"), { own: "foreign" })]);
  assert.equal(shelf.described, false);
  await shelf.keep(trained("mine"), {});
  assert.equal(shelf.described, false, "it is kept before the embedding model is here");
  await turn();
  assert.deepEqual([shelf.described, shelf.get("id-mine").profile], [true, profile("mine")]);
});

test("automatic: it takes the place of what is on, gives way to what is turned on, and is remembered for the model", async () => {
  const { session, shelf, db } = await shelved();
  for (const name of ["a", "b"]) await shelf.keep(trained(name), {});
  await shelf.use("id-a", 0.5);
  await shelf.only(AUTO);
  assert.deepEqual([session.used, shelf.automatic.value, shelf.used.value, shelf.scaleOf("id-a")], [AUTO, true, [], null]);
  const again = new PlayedSession();
  again.kept = session.kept;
  const next = await shelved({ session: again, db });
  assert.deepEqual([again.used, again.asked, next.shelf.automatic.value, next.errors], [AUTO, [], true, []], "none is loaded before it is asked for");
  await next.shelf.use("id-b", 1);
  assert.deepEqual([again.used, next.shelf.automatic.value], [[{ id: "id-b", scale: 1 }], false]);
  await next.shelf.only(AUTO);
  await next.shelf.only(null);
  assert.deepEqual([again.used, next.shelf.automatic.value], [[], false]);
  await next.shelf.only(AUTO);
  next.language.phase.set({ name: "idle" });
  assert.equal(next.shelf.automatic.value, false, "it is of the model that was loaded");
});

test("automatic: a deleted adapter comes back with what it was taught, and what chooses stays on", async () => {
  const { session, shelf } = await shelved();
  await shelf.keep(trained("mine"), {});
  await turn();
  await shelf.only(AUTO);
  const back = await shelf.delete("id-mine");
  assert.deepEqual([session.used, shelf.described], [AUTO, false]);
  await back();
  assert.deepEqual([session.used, shelf.get("id-mine").profile], [AUTO, profile("mine")]);
});

/** What happens while the embedding model is fetched. @type {[string, (parts: any) => any, boolean][]} */
const MEANWHILE = [
  ["nothing", () => {}, true],
  ["it cannot be had", ({ answer }) => answer(Promise.reject(new RangeError("offline"))), false],
  ["the adapter is deleted", ({ shelf }) => shelf.delete("id-mine"), false],
  ["the language model is freed", ({ language }) => { language.session = null; }, false],
];
for (const [what, meanwhile, described] of MEANWHILE) {
  test(`automatic: what was taught is kept at once, and ${described ? "" : "not "}described where ${what} happens before the embedding model is here`, async () => {
    let answer = /** @type {(value: any) => void} */ (() => {});
    const fetched = new Promise((resolve) => { answer = resolve; });
    const parts = await shelved({ embedder: () => fetched });
    const made = await parts.shelf.keep(trained("mine"), {});
    assert.equal(made.profile, null);
    await meanwhile({ ...parts, answer });
    answer(EMBEDDER);
    await turn();
    assert.deepEqual([parts.session.kept.get("id-mine")?.profile ?? null, parts.errors], [described ? profile("mine") : null, []]);
  });
}

const COMPLETION = { text: "x", tokens: [1], reason: "stop", seed: 1, usage: { prompt: 3, completion: 1, cached: 0 }, timings: { prefillMs: 1, firstMs: 5, decodeMs: 1 } };
/** @type {[string, any, string][]} */
const TOLD = [["which one answered", { routed: { id: "a", name: "recipes", score: 0.4242 } }, "by \u201crecipes\u201d (likeness 0.42)"], ["that none did", { routed: null }, "no adapter fitted"], ["nothing where nobody chose", {}, "prompt 3"]];
for (const [what, more, words] of TOLD) test(`automatic: an answer tells ${what}`, () => assert.equal(toldOf(/** @type {any} */ ({ ...COMPLETION, ...more })).at(-1), words));
