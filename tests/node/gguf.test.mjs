/** The page's look into a dropped GGUF file: the vectors of the Python reader, asked for by range. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { describe, KEPT, memory } from "../../web/formats/gguf-info.js";
import { MAX_HEADER } from "../../web/formats/cursor.js";
import { readHeader } from "../../web/formats/gguf.js";
import { BY_ID, FILE_TYPES } from "../../web/formats/types.js";

const vectors = (name) => JSON.parse(readFileSync(new URL(`../vectors/gguf/${name}.json`, import.meta.url), "utf8"));
const { good, bad } = vectors("headers");
const { rows, tables } = vectors("info");

/** A file of `size` bytes: the ones given, then zeros. Counts what is asked of it. */
class Bytes {
  asked = 0;

  constructor(bytes, size = bytes.length) {
    this.bytes = bytes;
    this.size = size;
  }

  slice(start, end) {
    assert.ok(0 <= start && start <= end && end <= this.size);
    this.asked += end - start;
    const made = new Uint8Array(end - start);
    made.set(this.bytes.subarray(start, end));
    return { arrayBuffer: async () => made.buffer };
  }
}

const fileOf = ({ hex, size }) => new Bytes(new Uint8Array(Buffer.from(hex, "hex")), size);
const plain = (value) => (typeof value === "object" ? value.count : Array.isArray(value) ? value.length : value);

for (const row of good) {
  test(`a sound header is read whole: ${row.why}`, async () => {
    const { version, alignment, length, dataOffset, metadata, types, tensors } = await readHeader(fileOf(row)), want = row.header;
    assert.deepEqual({ version, alignment, length, dataOffset }, { version: want.version, alignment: want.alignment, length: want.length, dataOffset: want.dataOffset });
    const counted = want.metadata.map(([key, type, value]) => [key, type, Array.isArray(value) ? value.length : value]);
    assert.deepEqual([...metadata].map(([key, value]) => [key, types.get(key), plain(value)]), counted);
    assert.deepEqual([...tensors.values()].map((t) => [t.name, t.type, t.shape, t.offset, t.bytes]), want.tensors);
  });
}

for (const row of bad) {
  test(`an unsound header is refused: ${row.why}`, async () => {
    const file = fileOf(row);
    await assert.rejects(readHeader(file), { code: row.code });
    assert.ok(file.asked <= 5 * 2 ** 20, `${file.asked} bytes asked for`);
  });
}

test("a file cut anywhere is refused", async () => {
  for (const row of good.filter(({ header }) => header.tensors.length)) {
    const whole = new Uint8Array(row.size);
    whole.set(Buffer.from(row.hex, "hex"));
    const end = Math.max(...row.header.tensors.map(([, , , offset, bytes]) => offset + bytes));
    for (let length = 0; length < end; length++) await assert.rejects(readHeader(new Bytes(whole.subarray(0, length))), { code: "gguf_invalid" });
  }
});

test("bytes that do not come are a named error", async () => {
  const file = fileOf(good[0]);
  await assert.rejects(readHeader({ size: file.size, slice: (start, end) => file.slice(start, end - 1) }), { code: "gguf_invalid", message: /cut short/ });
});

test("mutated files are read or refused by name, and never ask for more than a header may have", async () => {
  const seeds = [...good, ...bad].map(({ hex }) => Buffer.from(hex, "hex"));
  let state = 7, refused = 0;
  const draw = (limit) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % limit;
  for (let i = 0; i < 3000; i++) {
    const data = Uint8Array.from(seeds[draw(seeds.length)]);
    for (let n = 0; n <= draw(4) && data.length; n++) data[draw(data.length)] = draw(256);
    const file = new Bytes(data, [data.length, 2 ** 20, 2 ** 42][draw(3)]);
    await readHeader(file).catch((error) => {
      assert.ok(["gguf_invalid", "tensor_type_unsupported"].includes(error.code), error.stack);
      refused++;
    });
    assert.ok(file.asked <= Math.min(file.size, MAX_HEADER));
  }
  assert.ok(refused > 1000);
});

for (const row of rows) {
  test(`the page tells what the CLI tells: ${row.why}`, async () => {
    const header = await readHeader(fileOf(row));
    assert.deepEqual(describe(header), row.info);
    assert.deepEqual(Object.keys(describe(header).types), Object.keys(row.info.types));
    for (const { ask, found } of row.memory) assert.deepEqual(memory(header, ask), found);
  });
}

test("a value of the wrong type is a named error", async () => {
  const header = await readHeader(fileOf(rows[0]));
  header.types.set("qwen2.block_count", "string");
  assert.throws(() => describe(header), { code: "gguf_invalid" });
});

test("types, file types and layouts are Python's", () => {
  assert.deepEqual([...BY_ID.values()].map((t) => [t.name, t.id, t.elements, t.bytes]), tables.types);
  assert.deepEqual({ ...FILE_TYPES }, tables.fileTypes);
  assert.deepEqual(KEPT, tables.kept);
});
