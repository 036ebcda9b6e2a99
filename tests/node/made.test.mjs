/** Files made for the user, over a played file store: room, what stops one, what a page that is gone left, what is refused by name. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { MadeFiles, sweep, writeMade } from "../../web/loader/made.js";
import { disk, freshDisk, held } from "./played_disk.mjs";

beforeEach(freshDisk);

const bytes = (...values) => Uint8Array.from(values);

/** A file of six bytes, written as Python does. */
async function made(files, { signal = new AbortController().signal } = {}) {
  return files.make(async (name) => {
    const file = await writeMade(name, 6, signal);
    file.write(bytes(1, 2, 3));
    file.write(bytes(4, 5, 6));
    file.end();
    return name;
  });
}

test("made: a file is what was written, under the name that people read, until it is discarded", async () => {
  const files = new MadeFiles();
  const name = await made(files);
  const file = await files.open(name, "both.gguf");
  assert.deepEqual([file.name, file.lastModified, [...new Uint8Array(await file.arrayBuffer())]], ["both.gguf", 7, [1, 2, 3, 4, 5, 6]]);
  assert.deepEqual([disk.open.size, held.size], [0, 1]);
  await files.discard(name);
  assert.deepEqual([disk.files.size, held.size], [0, 0]);
});

test("made: what is open in a page stays when another starts; what a killed one left goes", async () => {
  const name = await made(new MadeFiles());
  disk.files.set("left by a tab that was killed", [1]);
  await sweep();
  assert.deepEqual([...disk.files.keys()], [name]);
});

test("made: nobody discards what another page made", async () => {
  const name = await made(new MadeFiles());
  await new MadeFiles().discard(name);
  assert.ok(disk.files.has(name));
});

test("made: there must be room before the first byte", async () => {
  disk.free = 5;
  await assert.rejects(made(new MadeFiles()), { code: "quota_exceeded", details: { needed: 6, free: 5 } });
  assert.deepEqual([disk.files.size, held.size], [0, 0]);
});

test("made: a browser that told of more room than it gives is believed by what it gives", async () => {
  disk.full = true;
  await assert.rejects(made(new MadeFiles()), { code: "quota_exceeded" });
  assert.deepEqual([disk.files.size, disk.open.size, held.size], [0, 0, 0]);
});

test("made: what a killed page left makes room for the next file", async () => {
  disk.files.set("left", [1]);
  await made(new MadeFiles());
  assert.equal(disk.files.size, 1);
});

test("made: a signal closes and removes the file at once, whatever its writer waits for", async () => {
  const stop = new AbortController();
  const files = new MadeFiles();
  const writing = files.make(async (name) => {
    const file = await writeMade(name, 6, stop.signal);
    file.write(bytes(1, 2, 3));
    stop.abort(new RangeError("enough"));
    assert.deepEqual([disk.open.size], [0]);
    file.write(bytes(4, 5, 6));
  });
  await assert.rejects(writing, { message: "enough" });
  assert.deepEqual([disk.files.size, held.size], [0, 0]);
});

/** [what happens, the browser's error, its name here] @type {[string, any, string][]} */
const FAILURES = [
  ["the disk becomes full", new DOMException("full", "QuotaExceededError"), "quota_exceeded"],
  ["the file breaks", new DOMException("gone", "InvalidStateError"), "storage"],
];
for (const [what, error, code] of FAILURES) {
  test(`made: ${what} while it is written: named, and nothing stays`, async () => {
    const files = new MadeFiles();
    const writing = files.make(async (name) => {
      const file = await writeMade(name, 6, new AbortController().signal);
      disk.fail = error;
      try {
        file.write(bytes(1));
      } finally {
        await file.drop();
      }
    });
    await assert.rejects(writing, { code });
    assert.deepEqual([disk.files.size, disk.open.size, held.size], [0, 0, 0]);
  });
}

test("made: a browser without a file store is told by name", async () => {
  disk.refuse = new DOMException("blocked", "SecurityError");
  await assert.rejects(made(new MadeFiles()), { code: "storage_unavailable" });
});

test("made: one that was given up goes when its writer, at its last bytes, has closed it", async () => {
  /** @type {any} */ let file;
  const giving = new MadeFiles().make(async (name) => {
    file = await writeMade(name, 6, new AbortController().signal); // the cancel is still on its way to the writer
    throw new RangeError("enough");
  });
  await assert.rejects(giving, { message: "enough" });
  assert.deepEqual([disk.files.size, disk.open.size], [1, 1]);
  file.end();
  while (held.size) await new Promise(setImmediate);
  assert.equal(disk.files.size, 0);
});
