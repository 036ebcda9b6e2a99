/** The SDK's parts that need no browser: options, addresses, progress, turns, threads, frame answers. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Turns } from "../../web/engine/turns.js";
import { buffersOf } from "../../web/sdk/frame-server.js";
import { readOptions } from "../../web/sdk/options.js";
import { resolveUrls } from "../../web/sdk/place.js";
import { progressTo } from "../../web/sdk/progress.js";
import { pickThreads } from "../../web/sdk/status.js";
import { VERSION } from "../../web/sdk/version.js";

test("options: what is not given has its default, and given groups keep the other defaults", () => {
  const { cache, download, threads, memory } = readOptions({ download: { parallel: 8 } });
  assert.deepEqual([cache.maxSize, download.parallel, download.retries, threads, memory.maxModels], [2 ** 31, 8, 3, "auto", 2]);
});

const REFUSED = [
  ["an unknown name", { cach: {} }, /no option cach/],
  ["an unknown name in a group", { cache: { size: 1 } }, /no option cache\.size/],
  ["a size of nothing", { cache: { maxSize: 0 } }, /cache\.maxSize cannot be 0/],
  ["half a thread", { threads: 0.5 }, /threads cannot be 0\.5/],
  ["a callback that is none", { download: { progressCallback: "x" } }, /a function/],
  ["a backend that does not exist", { backend: "cuda" }, /"auto" or "wasm"/],
  ["a group that is no object", { cache: 7 }, /no option cache/],
];
for (const [what, given, message] of REFUSED) {
  test(`options: ${what} is refused`, () => assert.throws(() => readOptions(given), (error) => error.code === "invalid_option" && message.test(error.message)));
}

test("options: a backend asked for by name that runs no model is refused, not replaced in silence", () => {
  assert.throws(() => readOptions({ backend: "webgpu" }), { code: "not_supported", message: /WebAssembly only/ });
  assert.equal(readOptions({ backend: "wasm" }).backend, "wasm");
});

const SCRIPT = "https://models.example/sub/edgenet.js";
const PLACES = [
  ["beside the script", {}, "models", "https://models.example/sub/models/"],
  ["below another base, with the slash put in", { base: "https://cdn.example/e" }, "engine", "https://cdn.example/e/workers/engine.js"],
  ["one by one, folders with a slash", { models: "https://m.example/all" }, "models", "https://m.example/all/"],
  ["relative to the base", { trust: "../trust.json" }, "trust", "https://models.example/trust.json"],
];
for (const [what, given, key, want] of PLACES) test(`addresses: ${what}`, () => assert.equal(resolveUrls(given, SCRIPT)[key], want));
test("addresses: an unknown one is refused", () => assert.throws(() => resolveUrls({ model: "x" }, SCRIPT), { code: "invalid_option" }));

test("progress: it never falls, keeps the last figures, and leaves remarks out", () => {
  const seen = [];
  const say = progressTo("m", [(e) => seen.push([e.phase, e.progress, e.loaded, e.name])]);
  for (const event of [{ phase: "manifest", progress: 0, loaded: 0, total: 0 }, { phase: "download", loaded: 5, total: 10 }, { phase: "download", loaded: 4, total: 10 },
    { status: "fallback", code: "x" }, { phase: "compile" }]) say(event);
  assert.deepEqual(seen, [["manifest", 0, 0, "m"], ["download", 50, 5, "m"], ["download", 50, 4, "m"], ["compile", 50, 4, "m"]]);
});

test("turns: one at a time, the urgent before the ordinary, the cancelled not at all", async () => {
  const turns = new Turns();
  const order = [];
  let open = () => {};
  const gate = new Promise((resolve) => { open = resolve; });
  const cancelled = new AbortController();
  const work = (name) => async () => { order.push(name); };
  const all = [
    turns.take(async () => { order.push("first"); await gate; order.push("first ends"); }),
    turns.take(work("ordinary")), turns.take(work("cancelled"), { signal: cancelled.signal }), turns.take(work("urgent"), { urgent: true }),
  ];
  cancelled.abort();
  open();
  const results = await Promise.allSettled(all);
  assert.deepEqual(order, ["first", "first ends", "urgent", "ordinary"]);
  assert.deepEqual(results.map((r) => r.status), ["fulfilled", "fulfilled", "rejected", "fulfilled"]);
});

test("turns: a failure is its own caller's, the next goes on", async () => {
  const turns = new Turns();
  const failed = turns.take(async () => { throw new RangeError("mine"); });
  const next = turns.take(async () => 7);
  await assert.rejects(failed, RangeError);
  assert.equal(await next, 7);
});

for (const [wish, isolated, cores, want, why] of [
  ["auto", false, 8, 1, "no shared memory"], ["auto", true, 2, 1, "two threads spin on two cores"], ["auto", true, 8, 4, "half the cores"],
  ["auto", true, 64, 4, "small encoders gain little beyond four"], [3, true, 2, 3, "a wish overrides"], [3, false, 8, 1, "but not isolation"],
]) test(`threads: ${wish} on ${cores} cores${isolated ? "" : ", not isolated"} is ${want}: ${why}`, () => assert.equal(pickThreads(wish, isolated, cores), want));

test("frame: every buffer of an answer is found once, however deep", () => {
  const shared = new Float32Array(4);
  const found = buffersOf({ a: [shared, { b: shared.subarray(1) }], c: new ArrayBuffer(8), d: "x", e: null });
  assert.deepEqual(found.map((b) => b.byteLength).sort(), [16, 8]);
});

test("the version is that of the Python package", () => {
  const python = readFileSync(new URL("../../pysrc/edgenet/__init__.py", import.meta.url), "utf8");
  assert.equal(/__version__ = "(.*)"/.exec(python)?.[1], VERSION);
});
