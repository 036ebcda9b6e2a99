/** Backup and restore: what goes out comes back, a bad file changes nothing, and every refusal names what is wrong. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { backupParts, readBackup, restoreBackup } from "../../web/app/library/backup.js";
import { indexWaiting } from "../../web/app/library/indexer.js";
import { Library } from "../../web/app/library/library.js";
import { MemoryDatabase, vectorsOf } from "./memory_db.mjs";

const ENGINE = {
  model: "m@1",
  dimensions: 2,
  split: async (text) => [{ start: 0, end: text.length }],
  embedBatch: async (texts) => texts.map((text) => Float32Array.of(text.length, 0.1)),
};
const opened = () => new Library(new MemoryDatabase(), vectorsOf).open();

async function backedUp(texts, teaching = Uint8Array.of(1, 2, 255)) {
  const library = await opened();
  for (const [name, text] of Object.entries(texts)) await library.add({ name, text });
  await indexWaiting(library, ENGINE);
  const parts = [];
  for await (const part of backupParts(library, { dimensions: 2, teaching, createdAt: "2026-01-01T00:00:00Z" })) parts.push(part);
  return parts.join("");
}

test("documents, vectors and teaching come back as they were, without embedding again", async () => {
  const backup = await readBackup(await backedUp({ a: "häuser 🏠", b: "two" }));
  const library = await opened();
  assert.deepEqual(await restoreBackup(library, backup, "m@1"), { added: 2, present: 0, reindex: 0 });
  assert.deepEqual([...backup.teaching], [1, 2, 255]);
  const { id } = library.documents.find(({ name }) => name === "a");
  assert.equal(await library.text(id), "häuser 🏠");
  assert.deepEqual([...(await library.vectors(id)).values()], [Float32Array.of(9, 0.1)]);
});

test("restoring twice adds nothing, and a document of the same name and id is never overwritten", async () => {
  const backup = await readBackup(await backedUp({ a: "from the backup" }));
  const library = await opened();
  await restoreBackup(library, backup, "m@1");
  assert.deepEqual(await restoreBackup(library, backup, "m@1"), { added: 0, present: 1, reindex: 0 });
  await library.add({ name: "a", text: "mine, changed since" });
  await restoreBackup(library, backup, "m@1");
  const texts = await Promise.all(library.documents.map(async ({ id, name }) => [name, await library.text(id)]));
  assert.deepEqual(Object.fromEntries(texts), { a: "mine, changed since", "a (restored)": "from the backup" });
});

test("vectors of another model are not used: the documents wait to be indexed", async () => {
  const library = await opened();
  assert.equal((await restoreBackup(library, await readBackup(await backedUp({ a: "x" })), "other@2")).reindex, 1);
});

const DAMAGE = [
  ["a file cut in the middle", (json) => json.slice(0, json.length / 2), /cut off/],
  ["another JSON file", () => '{"hello": 1}', /mark of an EdgeNet backup/],
  ["a later format version", (json) => json.replace('"version":1', '"version":9'), /format version 9/],
  ["a changed text", (json) => json.replace('"text":"first"', '"text":"worst"'), /checksum/],
  ["missing vectors", (json) => json.replace(/"vectors":"[^"]+"/, '"vectors":"AAAA"'), /1 passages but vectors for/],
  ["vectors that are no base64", (json) => json.replace(/"vectors":"[^"]+"/, '"vectors":"!!"'), /cannot be read/],
  [
    "vectors that are not numbers",
    (json) => json.replace(/"vectors":"[^"]+"/, `"vectors":"${btoa("\0\0\xc0\x7f".repeat(2))}"`),
    /not numbers/,
  ],
  ["passages outside the text", (json) => json.replace('"end":5', '"end":500'), /does not fit its text/],
  ["teaching that is no base64", (json) => json.replace('"teaching":"AQL/"', '"teaching":"*"'), /taught cannot be read/],
];
for (const [why, damage, message] of DAMAGE) {
  test(`refuses ${why}`, async () => {
    await assert.rejects(
      readBackup(damage(await backedUp({ a: "first" }))),
      (error) => error.code === "backup_invalid" && message.test(error.message),
    );
  });
}
