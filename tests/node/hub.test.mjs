/** The Hub over played workers: what happens when the engine dies. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Hub } from "../../web/sdk/hub.js";
import { readOptions } from "../../web/sdk/options.js";
import { resolveUrls } from "../../web/sdk/place.js";
import { NotCached, toData } from "../../web/sdk/errors.js";

/** Models whose files are gone. @type {Set<string>} */
const gone = new Set();

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
    };
    if (kind === "alive") return;
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

test("hub: a model that cannot be loaded again after the engine died takes no other model with it", async (t) => {
  const { Worker } = globalThis;
  globalThis.Worker = /** @type {any} */ (PlayedWorker);
  const hub = new Hub({ urls: resolveUrls({ base: "https://site.example/" }, "https://site.example/edgenet.js"), options: readOptions() });
  t.after(() => { hub.close(); globalThis.Worker = Worker; });
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
