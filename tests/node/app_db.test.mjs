/** The app's database when the browser takes its connection away, and teaching when documents went before it was there. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { openDatabase } from "../../web/app/library/db.js";
import { Library } from "../../web/app/library/library.js";
import { Teacher } from "../../web/app/teach/teacher.js";
import { MemoryDatabase, vectorsOf } from "./memory_db.mjs";
import { PlayedIndexedDB } from "./played_idb.mjs";

const put = (key, value) => ({ put: "settings", key, value });
let idb;
beforeEach(() => { globalThis.indexedDB = /** @type {any} */ (idb = new PlayedIndexedDB()); });

const WORK = [
  ["read", (db) => db.read("settings", "a"), 1],
  ["write", (db) => db.write([put("a", 2)]), 2],
  ["change", (db) => db.change([["settings", "a"]], ([a]) => [put("a", a + 2)]), 3],
];
for (const [what, work, then] of WORK) {
  test(`a connection that the browser closed is opened again by a ${what}`, async () => {
    const db = await openDatabase();
    await db.write([put("a", 1)]);
    idb.connections[0].close();
    await Promise.all([work(db), db.read("settings", "b")]);
    assert.equal(await db.read("settings", "a"), then);
    assert.equal(idb.connections.length, 2); // one for both
  });
}

test("a database that cannot be opened again says that storage is refused", async () => {
  const db = await openDatabase();
  idb.connections[0].close();
  idb.refuse = new DOMException("blocked", "SecurityError");
  await assert.rejects(db.read("settings", "a"), { code: "storage_unavailable" });
});

test("a change whose own work throws writes nothing and passes the error on", async () => {
  const db = await openDatabase();
  await assert.rejects(db.change([["settings", "a"]], () => { throw new RangeError("mine"); }), RangeError);
  assert.equal(await db.read("settings", "a"), undefined);
});

test("a failed read inside a change has a named error", async () => {
  const db = await openDatabase();
  idb.fail = new DOMException("disk", "UnknownError");
  await assert.rejects(db.change([["settings", "a"]], () => []), { code: "storage" });
});

/** A session's teaching that knows one mark; what is forgotten is noted. */
function taught(id) {
  let marks = [{ n: 1, query: "q", id, row: 0, relevant: true }];
  const gone = [];
  const teach = {
    start: async () => {},
    state: () => ({ marks, adapter: null, unmet: [] }),
    forget: async (ids) => {
      gone.push(...ids);
      marks = marks.filter((mark) => !ids.includes(mark.id));
      return teach.state();
    },
  };
  return { gone, engine: { session: { teach }, ready: async () => ({ teach }) } };
}

test("a document purged before the model was loaded is forgotten once it is, and only then leaves the list", async () => {
  const db = new MemoryDatabase(),
    library = await new Library(db, vectorsOf).open();
  const { document } = await library.add({ name: "a", text: "x" });
  const { gone, engine } = taught(document.id);
  const teacher = new Teacher({ engine, searcher: { again: async () => [] }, library, db });
  await library.delete([document.id]);
  await library.purge([document.id]);
  await teacher.forgetPurged();
  assert.deepEqual([gone, await library.purged()], [[], [document.id]]); // marks are not known yet
  await teacher.open();
  await teacher.forgetPurged();
  assert.deepEqual([gone, await library.purged(), teacher.state.value.marks], [[document.id], [], []]);
});
