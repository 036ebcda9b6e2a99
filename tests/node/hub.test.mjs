/** The Hub over played workers: what happens when the engine dies. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Hub } from "../../web/sdk/hub.js";
import { readOptions } from "../../web/sdk/options.js";
import { resolveUrls } from "../../web/sdk/place.js";
import { NotCached, toData } from "../../web/sdk/errors.js";

/** Models whose files are gone. @type {Set<string>} */
const gone = new Set();

/** Kinds that workers were asked. @type {string[]} */
const asked = [];

/** Loads what is not gone; `alive` is answered by death alone. */
class PlayedWorker extends EventTarget {
  /** @type {PlayedWorker[]} */ static made = [];
  open = new Set();

  constructor(url) {
    super();
    this.url = String(url);
    PlayedWorker.made.push(this);
  }

  postMessage({ id, kind, args }) {
    const answers = {
      pull: () => ({ manifest: { version: "1" }, state: "signed" }),
      load: () => {
        if (gone.has(args.id)) throw new NotCached(`${args.id} is gone`);
        this.open.add(args.session);
        return args;
      },
      memory: () => this.open.has(args.session),
      dispose: () => this.open.delete(args.session),
    };
    asked.push(kind);
    if (kind === "alive" || (kind === "embed" && args.never)) return;
    let data;
    try {
      data = { id, result: answers[kind]?.() ?? null };
    } catch (error) {
      data = { id, error: toData(error) };
    }
    queueMicrotask(() => this.dispatchEvent(Object.assign(new Event("message"), { data })));
  }

  terminate() {}
}

/** A Hub over played workers that ends with the test. */
function hubFor(t) {
  const { Worker } = globalThis;
  globalThis.Worker = /** @type {any} */ (PlayedWorker);
  const hub = new Hub({ urls: resolveUrls({ base: "https://site.example/" }, "https://site.example/edgenet.js"), options: readOptions() });
  t.after(() => { hub.close(); globalThis.Worker = Worker; });
  return hub;
}

/** An engine that is asked and never answers, and a clock of ticks beside a clock of time. */
async function silence(t) {
  const hub = hubFor(t);
  const session = await hub.call("hub.open", { id: "m" });
  t.mock.timers.enable({ apis: ["setInterval"] });
  const time = t.mock.method(Date, "now", () => 1e12);
  let error = null;
  hub.call("engine.embed", { ...session, never: true }).catch((reason) => { error = reason; });
  await new Promise(setImmediate);
  const settle = async () => { await new Promise(setImmediate); return error?.code ?? null; };
  return { settle, sleep: (ms) => time.mock.mockImplementation(() => 1e12 + ms), tick: (ms) => t.mock.timers.tick(ms) };
}

test("hub: a machine that slept while the engine worked finds it alive on waking", async (t) => {
  const { settle, sleep, tick } = await silence(t);
  sleep(8 * 3600_000);
  tick(5000);
  assert.equal(await settle(), null);
});

test("hub: an engine that says nothing for as long as patience lasts is ended", async (t) => {
  const { settle, sleep, tick } = await silence(t);
  sleep(115_000);
  tick(115_000);
  assert.equal(await settle(), null);
  sleep(120_000);
  tick(5000);
  assert.equal(await settle(), "engine_deadline");
});

test("hub: a load that is given up leaves no session in the engine, even when the cancel crosses the answer", async (t) => {
  const hub = hubFor(t);
  await hub.call("hub.open", { id: "first" }); // the engine is there
  const controller = new AbortController();
  asked.length = 0;
  const opening = hub.call("hub.open", { id: "m" }, { signal: controller.signal });
  while (!asked.includes("load")) await Promise.resolve();
  controller.abort();
  await assert.rejects(opening, { name: "AbortError" });
  await new Promise(setImmediate);
  assert.equal(PlayedWorker.made.at(-1)?.open.size, 1);
});

test("hub: once it is closed, work that was under way starts no worker", async (t) => {
  const hub = hubFor(t);
  const { python } = hub.languages; // as desks ask that go on after an answer
  await hub.call("hub.open", { id: "m" });
  hub.close();
  const made = PlayedWorker.made.length;
  await assert.rejects(python("train.line", {}), { code: "disposed" });
  assert.equal(PlayedWorker.made.length, made);
});

test("hub: a model that cannot be loaded again after the engine died takes no other model with it", async (t) => {
  const hub = hubFor(t);
  const said = [];
  const events = hub.call("hub.events", {}, { onEvent: (event) => said.push(event.code) });
  events.catch(() => {});
  const lost = await hub.call("hub.open", { id: "lost" });
  const kept = await hub.call("hub.open", { id: "kept" });
  gone.add("lost");
  PlayedWorker.made.at(-1)?.dispatchEvent(Object.assign(new Event("error"), { message: "out of memory" }));
  assert.equal(await hub.call("engine.memory", kept), true);
  assert.equal(await hub.call("engine.memory", lost), false);
  assert.ok(said.includes("session_lost"), String(said));
});
