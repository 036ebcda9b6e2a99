/** The model store when the browser fails it: passing errors, refusals, short reads, files that cannot be removed. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { cachedModels, makeRoom, removeModel } from "../../web/loader/cache.js";
import { memory } from "../../web/loader/memory.js";
import { artifactKey, modelKey, openArtifact, readKey, updateKey, writeKey } from "../../web/loader/store.js";
import { PlayedIndexedDB } from "./played_idb.mjs";

const ROOT = "a".repeat(64);
const SIZE = 8;
const idb = new PlayedIndexedDB();
/** The one file of the played OPFS: its bytes, how many of them a read gives, and what removing it throws. */
const file = { bytes: new Uint8Array(SIZE).fill(7), gives: SIZE, /** @type {Error | null} */ stuck: null };
const handle = { mode: "read-only", close() {}, read(into, { at }) {
  const found = file.bytes.subarray(at, Math.min(at + into.length, file.gives));
  into.set(found);
  return found.length;
} };
const folder = {
  getFileHandle: async (name) => ({ name, getFile: async () => ({ size: SIZE }), createSyncAccessHandle: async () => handle }),
  removeEntry: async () => { if (file.stuck) throw file.stuck; },
};
const getDirectory = async () => ({ getDirectoryHandle: async () => folder });
const use = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true });

beforeEach(() => {
  Object.assign(memory, { refused: "", owner: true });
  memory.index.clear();
  Object.assign(idb, { fail: null, refuse: null, failPut: null });
  Object.assign(file, { gives: SIZE, stuck: null });
  use("indexedDB", idb);
  use("navigator", { storage: { getDirectory } });
});

const manifest = (id, root = ROOT) => ({ id, version: "1", name: id, type: "embedding", artifacts: { model: { filename: "m", merkleRoot: root, size: SIZE } } });
async function keep(id, { root = ROOT, lastUsed = 1 } = {}) {
  await writeKey(modelKey(id, "1"), { manifest: manifest(id, root), state: "signed", lastUsed, url: "" });
  await writeKey(artifactKey(root), { size: SIZE, chunkSize: SIZE, have: new Uint8Array([1]), complete: true, lastUsed, place: "opfs" });
}

for (const name of ["UnknownError", "AbortError", "TransactionInactiveError"]) {
  test(`store: one passing ${name} is said and the next call finds everything`, async () => {
    await writeKey("k", 1);
    idb.fail = new DOMException("disk hiccup", name);
    await assert.rejects(readKey("k"), { code: "storage" });
    assert.equal(await readKey("k"), 1);
    assert.equal(memory.refused, "");
  });
}

test("store: an error of the caller's own change is passed on and loses nothing", async () => {
  await writeKey("k", 1);
  await assert.rejects(updateKey("k", () => { throw new RangeError("mine"); }), RangeError);
  assert.equal(await readKey("k"), 1);
});

test("store: a full disk keeps its own name", async () => {
  idb.failPut = new DOMException("full", "QuotaExceededError");
  await assert.rejects(writeKey("k", 2), { name: "QuotaExceededError" });
});

const REFUSALS = [
  ["it has no IndexedDB", () => use("indexedDB", undefined)],
  ["touching it is forbidden", () => use("indexedDB", { open() { throw new DOMException("opaque origin", "SecurityError"); } })],
  ["it cannot be opened", () => { idb.refuse = new DOMException("private window", "InvalidStateError"); }],
];
for (const [why, refuse] of REFUSALS) {
  test(`store: memory takes over where ${why}`, async () => {
    await writeKey("k", "on disk");
    idb.connections.forEach((connection) => connection.close());
    refuse();
    await writeKey("k", "in memory");
    assert.equal(await readKey("k"), "in memory");
    assert.notEqual(memory.refused, "");
  });
}

test("store: a file that became shorter is missing, not zeros", async () => {
  await keep("m");
  const reader = await openArtifact(ROOT);
  assert.deepEqual(await reader.read(2, 4), new Uint8Array(4).fill(7));
  file.gives = 5;
  await assert.rejects(reader.read(2, 4), { code: "not_cached" });
});

test("cache: a model whose bytes cannot be removed stays listed, and can be removed later", async () => {
  await keep("m");
  file.stuck = new DOMException("open elsewhere", "NoModificationAllowedError");
  await assert.rejects(removeModel(manifest("m")));
  assert.deepEqual((await cachedModels()).map(({ id, held }) => [id, held]), [["m", SIZE]]);
  file.stuck = null;
  await removeModel(manifest("m"));
  assert.deepEqual([await cachedModels(), await readKey(artifactKey(ROOT))], [[], undefined]);
});

test("cache: making room passes over a model whose file is held by another tab", async () => {
  const [held, free] = ["b".repeat(64), "c".repeat(64)];
  await keep("held", { root: held, lastUsed: 1 });
  await keep("free", { root: free, lastUsed: 2 });
  const remove = folder.removeEntry;
  folder.removeEntry = async (root) => { if (root === held) throw new DOMException("open elsewhere", "NoModificationAllowedError"); };
  const evicted = [];
  await makeRoom(manifest("new", "d".repeat(64)), 2 * SIZE, ({ id }) => evicted.push(id));
  folder.removeEntry = remove;
  assert.deepEqual(evicted, ["free"]);
  for (const id of ["held", "free"]) await removeModel(manifest(id, id === "held" ? held : free));
});
