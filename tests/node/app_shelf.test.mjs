/** The adapters that are kept, without a page: what is on, names, deletion with a way back, whole models, merging. The session is played. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { desk } from "./personalise_desk.mjs";
import { PlayedSession } from "./played_trainer.mjs";

async function shelved() {
  const one = await desk();
  for (const name of ["a", "b"]) await one.shelf.keep({ id: `id-${name}`, name, metrics: { steps: 3 } }, {});
  return one;
}

test("what is on is loaded, used by every request, and on again when the model is loaded the next time", async () => {
  const { session, shelf, db } = await shelved();
  await shelf.use("id-a", 0.5);
  await shelf.use("id-b", 1);
  assert.deepEqual(session.used, [{ id: "id-a", scale: 0.5 }, { id: "id-b", scale: 1 }]);
  await shelf.use("id-a", null);
  assert.deepEqual(session.used, [{ id: "id-b", scale: 1 }]);
  const again = new PlayedSession();
  again.kept = session.kept;
  const { language, shelf: next, errors } = await desk({ session: again, db });
  language.phase.set({ name: "ready" });
  await next.rename("id-a", "a"); // behind what opening began
  assert.deepEqual([again.used, again.asked, errors], [[{ id: "id-b", scale: 1 }], ["load id-b"], []]);
  language.phase.set({ name: "idle" });
  assert.deepEqual([next.saved.value, next.used.value], [[], []]);
});

test("the picker takes one alone, or none", async () => {
  const { session, shelf } = await shelved();
  await shelf.use("id-a", 0.5);
  await shelf.only("id-b");
  assert.deepEqual(session.used, [{ id: "id-b", scale: 1 }]);
  await shelf.only(null);
  assert.deepEqual(session.used, []);
});

test("a deleted adapter is off, and comes back with its name, its figures and as it was on", async () => {
  const { session, shelf } = await shelved();
  await shelf.use("id-a", 0.7);
  const back = await shelf.delete("id-a");
  assert.deepEqual([shelf.saved.value.map(({ name }) => name), session.used], [["b"], []]);
  await back();
  assert.deepEqual([shelf.get("id-a").metrics, shelf.scaleOf("id-a")], [{ steps: 3 }, 0.7]);
});

test("a whole model is made of one at a scale; the next one takes its place, and one that is loaded stays", async () => {
  const { session, shelf, language } = await shelved();
  /** @type {any[]} */ const given = [];
  language.give = async (files) => void given.push(...files);
  const told = [];
  const made = await shelf.whole("id-a", 0.5, { type: "q8_0", onProgress: ({ loaded }) => told.push(loaded) });
  assert.deepEqual([made.part, made.how, told], [{ id: "id-a", weight: 0.5 }, { strategy: "task_arithmetic", type: "q8_0" }, [1]]);
  await shelf.whole("id-b", 1, {});
  await shelf.useWhole();
  await shelf.whole("id-a", 1, {});
  assert.deepEqual([session.made.map(({ gone }) => gone), given.map(({ name }) => name)], [[true, false, false], ["whole 1.gguf"]]);
});

test("names: one that is taken is refused, an adapter that is kept takes the next free one, an empty one changes nothing", async () => {
  const { shelf } = await shelved();
  await assert.rejects(shelf.rename("id-a", "b"), { code: "adapter_exists" });
  await shelf.rename("id-a", "  ");
  await shelf.keep({ id: "id-c", name: "a", metrics: {} }, {});
  assert.deepEqual(shelf.saved.value.map(({ name }) => name), ["a", "b", "a 2"]);
});

test("two become one with its error, and files come in under a name of their own", async () => {
  const { shelf } = await shelved();
  const parts = [{ id: "id-a", weight: 1 }, { id: "id-b", weight: 2 }];
  const made = await shelf.merge(parts, { strategy: "ties", density: 0.3 });
  assert.deepEqual([made.name, made.metrics.merge], ["a + b", { strategy: "ties", parts, error: 0.25 }]);
  const file = (name, own) => Object.assign(new File(["x"], name), { own });
  assert.equal((await shelf.import([file("x.zip", "own")])).name, "own");
  assert.equal((await shelf.import([Object.assign(file("x.zip", "a"), { content: "other" })])).name, "x", "its own name is another's");
  assert.equal((await shelf.import([file("adapter_config.json"), file("adapter_model.safetensors")])).name, "imported");
});

test("one that stays loaded is told so, and comes back so from a deletion", async () => {
  const { shelf } = await shelved();
  await shelf.pin("id-a", true);
  assert.deepEqual(shelf.saved.value.map(({ pinned }) => Boolean(pinned)), [true, false]);
  const back = await shelf.delete("id-a");
  await back();
  assert.equal(shelf.get("id-a").pinned, true);
});
