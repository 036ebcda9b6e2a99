/** The app's library: adding, indexing, killing, changing, deleting. The engine is a deterministic hash; what is tested is what is kept. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Library, UNDO_MS } from "../../web/app/library/library.js";
import { indexWaiting } from "../../web/app/library/indexer.js";
import { MemoryDatabase, vectorsOf } from "./memory_db.mjs";

const DIM = 4;
const vectorOf = (text) =>
  Float32Array.from({ length: DIM }, (_, i) => [...text].reduce((sum, c) => (sum * 31 + c.codePointAt(0) * (i + 1)) % 997, 7));

function engineOf({ bad = () => false } = {}) {
  const seen = [];
  return {
    seen,
    model: "m@1",
    dimensions: DIM,
    split: async (text) => [...text.matchAll(/[^\n]+/g)].map((m) => ({ start: m.index, end: m.index + m[0].length })),
    embedBatch: async (texts) => {
      seen.push(...texts);
      return texts.map((text) => (bad(text) ? new Float32Array(DIM).fill(NaN) : vectorOf(text)));
    },
  };
}
const opened = (db) => new Library(db, vectorsOf).open();
const lines = (count, word = "line") => Array.from({ length: count }, (_, i) => `${word} ${i}`).join("\n");

/** Row → vector of a document, as stored. */
async function stored(library, id) {
  const rows = [];
  for (const [first, vectors] of await library.vectors(id))
    for (let i = 0; i < vectors.length / DIM; i++) rows[first + i] = [...vectors.subarray(i * DIM, (i + 1) * DIM)];
  return rows;
}
const expected = (text) => text.split("\n").map((line) => [...vectorOf(line)]);

test("documents are indexed across batches and come back after a reload without being embedded again", async () => {
  const db = new MemoryDatabase(),
    engine = engineOf();
  const library = await opened(db);
  const { document } = await library.add({ name: "a", text: lines(21) });
  await library.add({ name: "b", text: "one" });
  await indexWaiting(library, engine);
  const again = await opened(db);
  await indexWaiting(again, engine);
  assert.equal(engine.seen.length, 22);
  assert.deepEqual(
    again.documents.map(({ state }) => state),
    ["ready", "ready"],
  );
  assert.deepEqual(await stored(again, document.id), expected(lines(21)));
});

test("a tab killed at any write loses at most one batch and goes on where it was", async () => {
  const texts = { a: lines(13, "a"), b: "b", c: lines(9, "c") };
  for (let death = 3; death < 14; death++) {
    const db = new MemoryDatabase(),
      engine = engineOf();
    const library = await opened(db);
    for (const [name, text] of Object.entries(texts)) await library.add({ name, text });
    db.dieAfter = death;
    await indexWaiting(library, engine).catch(() => {});
    db.dieAfter = Infinity;
    const again = await opened(db);
    await indexWaiting(again, engine);
    for (const { id, name, state } of again.documents) {
      assert.equal(state, "ready", `${name} after death at write ${death}`);
      assert.deepEqual(await stored(again, id), expected(texts[name]));
    }
    assert.ok(engine.seen.length <= 23 + 8, `${engine.seen.length} passages embedded after death at write ${death}`);
  }
});

test("a changed document embeds only the passages whose words changed", async () => {
  const engine = engineOf(),
    library = await opened(new MemoryDatabase());
  await library.add({ name: "a", text: lines(20) });
  await indexWaiting(library, engine);
  engine.seen.length = 0;
  const changed = `new first\n${lines(20).replace("line 7", "another seven")}`;
  const { document, outcome } = await library.add({ name: "a", text: changed });
  await indexWaiting(library, engine);
  assert.equal(outcome, "updated");
  assert.deepEqual(engine.seen, ["new first", "another seven"]);
  assert.deepEqual(await stored(library, document.id), expected(changed));
});

test("an update can be undone and an equal text is not saved twice", async () => {
  const library = await opened(new MemoryDatabase());
  await library.add({ name: "a", text: "old" });
  const { document, undo } = await library.add({ name: "a", text: "new" });
  await undo();
  assert.equal(await library.text(document.id), "old");
  assert.equal((await library.add({ name: "a", text: "old" })).outcome, "same");
});

test("a document whose model answers NaN is set aside by name and the others are indexed", async () => {
  const engine = engineOf({ bad: (text) => text.includes("poison") }),
    library = await opened(new MemoryDatabase());
  for (const text of ["fine", "poison", "also fine"]) await library.add({ name: text, text });
  await indexWaiting(library, engine);
  assert.deepEqual(Object.fromEntries(library.documents.map(({ name, state }) => [name, state])), {
    fine: "ready",
    poison: "failed",
    "also fine": "ready",
  });
  assert.equal(library.documents.find(({ name }) => name === "poison").error.code, "output_not_finite");
  assert.equal(await library.retryFailed(), 1);
});

test("a book does not keep the notes that were added after it from being found: the shortest is read first", async () => {
  const library = await opened(new MemoryDatabase());
  for (const [name, count] of [["book", 40], ["note", 1], ["chapter", 20]]) await library.add({ name, text: lines(count, name) });
  const engine = engineOf();
  await indexWaiting(library, engine);
  assert.deepEqual([...new Set(engine.seen.map((text) => text.split(" ")[0]))], ["note", "chapter", "book"]);
});

test("cancelling keeps what was finished and rejects with aborted", async () => {
  const engine = engineOf(),
    library = await opened(new MemoryDatabase()),
    controller = new AbortController();
  await library.add({ name: "a", text: lines(40) });
  const onProgress = ({ passages }) => passages >= 16 && controller.abort();
  await assert.rejects(indexWaiting(library, engine, { signal: controller.signal, onProgress }), { code: "aborted" });
  assert.equal(engine.seen.length, 16);
  await indexWaiting(library, engine);
  assert.equal(engine.seen.length, 40);
});

test("progress moves within one long document", async () => {
  const library = await opened(new MemoryDatabase()),
    shares = [];
  await library.add({ name: "a", text: lines(40) });
  await indexWaiting(library, engineOf(), { onProgress: ({ share }) => shares.push(share) });
  assert.deepEqual(shares.map((share) => Math.round(100 * share)), [20, 40, 60, 80, 100, 100]);
});

test("a deleted document is hidden at once, comes back by undo, and is gone after the next start", async () => {
  const db = new MemoryDatabase(),
    library = await opened(db);
  const { document } = await library.add({ name: "a", text: "x" });
  const { undo } = await library.delete([document.id]);
  assert.equal(library.documents.length, 0);
  await undo();
  assert.equal(library.documents.length, 1);
  await library.delete([document.id]);
  const later = { now: () => Date.now() + UNDO_MS };
  assert.equal((await new Library(db, vectorsOf, later).open()).all.size, 0);
  assert.equal(db.store("texts").size, 0);
});

test("a tab opened while another one still offers the undo takes nothing away from it", async () => {
  const db = new MemoryDatabase(),
    library = await opened(db);
  const { document } = await library.add({ name: "a", text: "x" });
  const { undo } = await library.delete([document.id]);
  assert.equal((await opened(db)).documents.length, 0);
  await undo();
  assert.equal(await library.text(document.id), "x");
});

const LONG = "folder/".repeat(80);
test("a path longer than a name may be is found again, and another one with the same beginning is not mistaken for it", async () => {
  const library = await opened(new MemoryDatabase());
  await library.add({ name: `${LONG}a.md`, text: "a" });
  assert.equal((await library.add({ name: `${LONG}a.md`, text: "a" })).outcome, "same");
  assert.equal((await library.add({ name: `${LONG}a.md`, text: "changed" })).outcome, "updated");
  assert.equal((await library.add({ name: `${LONG}b.md`, text: "b" })).outcome, "added");
  assert.deepEqual(
    library.documents.map(({ name }) => name.length),
    [400, 400],
  );
});

/** What another tab did to a document, of which this tab has not heard when its own work ends. */
const ELSEWHERE = [
  ["deleted it while the model worked", "embedBatch", {}, (tab, id) => tab.delete([id]), (document) => document.deletedAt > 0],
  ["renamed it while the model worked", "embedBatch", {}, (tab, id) => tab.rename(id, "b"), ({ name, state }) => name === "b" && state === "ready"],
  ["deleted it while it was split", "split", {}, (tab, id) => tab.delete([id]), (document) => document.deletedAt > 0],
  ["renamed it while it was split", "split", {}, (tab, id) => tab.rename(id, "b"), ({ name, state }) => name === "b" && state === "ready"],
  ["renamed it before it was set aside", "embedBatch", { bad: () => true }, (tab, id) => tab.rename(id, "b"), ({ name, state }) => name === "b" && state === "failed"],
  ["deleted it before it was set aside", "embedBatch", { bad: () => true }, (tab, id) => tab.delete([id]), (document) => document.deletedAt > 0],
];
for (const [what, when, engineOptions, act, holds] of ELSEWHERE) {
  test(`indexing keeps what another tab did: it ${what}`, async () => {
    const db = new MemoryDatabase(),
      library = await opened(db);
    const { document } = await library.add({ name: "a", text: lines(3) });
    const other = await opened(db),
      engine = engineOf(engineOptions);
    const work = engine[when];
    let first = true;
    engine[when] = async (...given) => {
      if (first) await act(other, document.id);
      first = false;
      return work(...given);
    };
    await indexWaiting(library, engine);
    const kept = await db.read("documents", document.id);
    assert.ok(holds(kept), JSON.stringify(kept));
  });
}

test("a document renamed in one tab keeps its name when another tab deletes it and takes that back", async () => {
  const db = new MemoryDatabase(),
    library = await opened(db);
  const { document } = await library.add({ name: "a", text: "x" });
  const other = await opened(db);
  await library.rename(document.id, "b");
  await (await other.delete([document.id])).undo();
  assert.equal((await db.read("documents", document.id)).name, "b");
});

test("a document purged at start stays on the list for teaching until that has forgotten it", async () => {
  const db = new MemoryDatabase(),
    library = await opened(db);
  const { document } = await library.add({ name: "a", text: "x" });
  await library.delete([document.id]);
  const later = { now: () => Date.now() + UNDO_MS };
  await new Library(db, vectorsOf, later).open();
  const next = await opened(db);
  assert.deepEqual(await next.purged(), [document.id]);
  await next.forgotten([document.id]);
  assert.deepEqual(await (await opened(db)).purged(), []);
});

const REFUSED = [
  ["empty text", "", "empty_text"],
  ["only white space", " \n\t ", "empty_text"],
  ["beyond the limit", "x".repeat(5_000_001), "text_too_large"],
];
for (const [why, text, code] of REFUSED) {
  test(`refuses ${why} and changes nothing`, async () => {
    const library = await opened(new MemoryDatabase());
    await assert.rejects(library.add({ name: "a", text }), { code });
    assert.equal(library.all.size, 0);
  });
}

test("a document deleted while the model works on it is not resurrected", async () => {
  const library = await opened(new MemoryDatabase()),
    engine = engineOf();
  const { document } = await library.add({ name: "a", text: lines(20) });
  const embedBatch = engine.embedBatch;
  engine.embedBatch = async (texts) => {
    await library.delete([document.id]).catch(() => {});
    return embedBatch(texts);
  };
  await indexWaiting(library, engine);
  assert.equal(library.documents.length, 0);
});
