/** Opening a model and keeping what is taught, over played workers: nothing damaged may keep the model shut. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { EngineDeadline, toData } from "../../web/sdk/errors.js";
import { ModelLoader } from "../../web/sdk/loader.js";
import { VectorIndex } from "../../web/engine/vector-index.js";
import { PlayedIndexedDB } from "./played_idb.mjs";

const DIM = 4;
/** What the played workers do and were asked. */
let played, idb;

class PlayedWorker extends EventTarget {
  postMessage({ id, kind, args }) {
    if (kind === "alive" || kind === "hub.events") return;
    let data;
    try {
      data = { id, result: this[kind]?.(args) ?? null };
    } catch (error) {
      data = { id, error: toData(error) };
    }
    queueMicrotask(() => this.dispatchEvent(Object.assign(new Event("message"), { data })));
  }
  pull = () => ({ manifest: { version: "1" }, state: "signed" });
  load({ session, id, version }) {
    played.open.add(session);
    return { id, version, type: "embedding", dimensions: DIM, maxTokens: 256, memory: {} };
  }
  dispose = ({ session }) => void played.open.delete(session);
  "adapter.set"({ A, B, alpha }) {
    if (played.trap) throw new EngineDeadline("it said nothing");
    const adapter = A ? { A, B, alpha } : null;
    VectorIndex.checkAdapter(adapter, DIM);
    played.adapter = adapter;
  }
  boot = () => ({ instance: "p" });
  "teach.reset" = () => ({ data: "{}", marks: [], unmet: [], adapter: null });
  "teach.undo" = () => ({ data: "{}", marks: [], unmet: [], adapter: GOOD });
  terminate() {}
}

const GOOD = { A: new Float32Array(DIM).fill(0.5), B: new Float32Array(DIM).fill(0.5), alpha: 1, rank: 1, norm: 1 };
const keptWith = (adapter) => ({ revision: "r", data: "{}", marks: [{ n: 1, passage: "0:a" }], unmet: [], adapter });

function loaderWith(kept) {
  const stores = new Map([["states", new Map(kept === undefined ? [] : [["m@1", kept]])]]);
  idb.databases.set("edgenet-teach-v1", stores);
  const loader = new ModelLoader({ frame: false, urls: { base: "https://site.example/" } });
  const said = [];
  loader.addEventListener("notice", ({ detail }) => said.push(detail.code));
  return { loader, said, kept: () => stores.get("states").get("m@1") };
}

beforeEach(() => {
  played = { open: new Set(), adapter: null, trap: false };
  globalThis.Worker = /** @type {any} */ (PlayedWorker);
  Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });
  globalThis.indexedDB = /** @type {any} */ (idb = new PlayedIndexedDB());
});

const DAMAGED = [
  ["an adapter of NaN", keptWith({ ...GOOD, A: new Float32Array(DIM).fill(NaN) })],
  ["an adapter of another model's size", keptWith({ ...GOOD, A: new Float32Array(3), B: new Float32Array(3) })],
  ["an adapter without numbers", keptWith({ alpha: 1, A: "x", B: null })],
  ["something that is no state at all", "gibberish"],
  ["a state without marks", { revision: "r", adapter: GOOD }],
];
for (const [what, kept] of DAMAGED) {
  test(`load: ${what} is said, the model opens, and resetting repairs it`, async () => {
    const { loader, said, kept: now } = loaderWith(kept);
    const session = await loader.load("m");
    assert.deepEqual([said, played.adapter, session.teach.state().adapter], [["teaching_damaged"], null, null]);
    await session.teach.reset();
    assert.deepEqual(now().marks, []);
    loader.dispose();
  });
}

test("load: a store that cannot be read does not keep the model shut", async () => {
  const { loader, said } = loaderWith();
  idb.refuse = new DOMException("blocked", "SecurityError");
  await loader.load("m");
  assert.deepEqual(said, ["teaching_damaged"]);
  loader.dispose();
});

test("load: what was taught before is applied and said", async () => {
  const { loader, said } = loaderWith(keptWith(GOOD));
  await loader.load("m");
  assert.deepEqual([said, played.adapter?.alpha], [["teaching_restored"], 1]);
  loader.dispose();
});

test("load: when the engine itself fails meanwhile, load rejects and leaves no session", async () => {
  const { loader } = loaderWith(keptWith(GOOD));
  played.trap = true;
  await assert.rejects(loader.load("m"), { code: "engine_deadline" });
  assert.equal(played.open.size, 0);
  played.trap = false;
  await loader.load("m");
  loader.dispose();
});

test("teach: what could not be saved is not applied either", async () => {
  const { loader, kept } = loaderWith();
  const session = await loader.load("m");
  idb.failPut = new DOMException("full", "QuotaExceededError");
  await assert.rejects(session.teach.undo(), { name: "QuotaExceededError" });
  assert.deepEqual([played.adapter, session.teach.state().adapter, kept()], [null, null, undefined]);
  loader.dispose();
});
