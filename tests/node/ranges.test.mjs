// Chunk arithmetic and HTTP ranges: tables, a reason per row.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bitset, bytesHeld, clearBit, covering, hasBit, missing, parseContentRange, parseRange, setBit, spanRange, spans } from "../../web/loader/ranges.js";
import { candidates } from "../../web/loader/sources.js";

const RANGES = [
  ["bytes=0-99", { from: 0, to: 100 }, "first hundred"],
  ["bytes=900-", { from: 900, to: 1000 }, "to the end"],
  ["bytes=-1", { from: 999, to: 1000 }, "the last byte"],
  ["bytes=-5000", { from: 0, to: 1000 }, "a suffix longer than the file is all of it"],
  ["bytes=990-5000", { from: 990, to: 1000 }, "beyond the end is cut"],
  ["bytes=1000-", "unsatisfiable", "begins behind the end"],
  ["bytes=-0", "unsatisfiable", "an empty suffix"],
  ["bytes=5-2", null, "last before first is malformed: ignored"],
  ["bytes=0-1,5-9", null, "several ranges: the whole file"],
  ["items=0-1", null, "another unit"],
  ["bytes=-", null, "no number"],
  [null, null, "no header"],
];
for (const [header, expected, why] of RANGES) {
  test(`Range ${header}: ${why}`, () => assert.deepEqual(parseRange(header, 1000), expected));
}

const CONTENT_RANGES = [
  ["bytes 0-99/1234", { from: 0, to: 100, total: 1234 }, "as RFC 9110 writes it"],
  ["bytes 5-5/*", { from: 5, to: 6, total: null }, "total unknown"],
  ["bytes 9-5/100", null, "last before first"],
  ["bytes */100", null, "unsatisfied"],
  ["0-5/10", null, "no unit"],
  [null, null, "hidden from other origins"],
];
for (const [header, expected, why] of CONTENT_RANGES) {
  test(`Content-Range ${header}: ${why}`, () => assert.deepEqual(parseContentRange(header), expected));
}

test("bits are set and cleared alone", () => {
  const set = bitset(19);
  assert.equal(set.length, 3);
  for (const i of [0, 7, 8, 18]) setBit(set, i);
  clearBit(set, 7);
  assert.deepEqual(missing(set, 19), [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17]);
  assert.equal(hasBit(set, 18), true);
});

test("held bytes count the short last chunk as it is", () => {
  const set = bitset(3);
  setBit(set, 0);
  setBit(set, 2);
  assert.equal(bytesHeld(set, 100, 250), 150);
});

const SPANS = [
  [[], Infinity, [], "nothing"],
  [[0, 1, 2, 5, 6, 9], Infinity, [{ first: 0, last: 2 }, { first: 5, last: 6 }, { first: 9, last: 9 }], "runs"],
  [[0, 1, 2, 3, 4], 2, [{ first: 0, last: 1 }, { first: 2, last: 3 }, { first: 4, last: 4 }], "no longer than the limit"],
];
for (const [chunks, limit, expected, why] of SPANS) test(`spans: ${why}`, () => assert.deepEqual(spans(chunks, limit), expected));

test("a span's bytes end with the file", () => assert.deepEqual(spanRange({ first: 1, last: 2 }, 100, 250), { from: 100, to: 250 }));
test("chunks that cover a range", () => assert.deepEqual(covering({ from: 99, to: 201 }, 100), { first: 0, last: 2 }));

const manifest = {
  sources: [
    { type: "ipfs", priority: 3, gateways: ["https://a.example/ipfs/", "https://b.example/ipfs/"] },
    { type: "teleport", priority: 0 },
    { type: "cdn", priority: 1, baseUrl: "./" },
    { type: "fallback", priority: 2, baseUrl: "https://c.example/m/" },
  ],
};
const artifact = { filename: "onnx/model.onnx", cid: "bafyx" };
const URLS = ["https://s.example/models/m/1/onnx/model.onnx", "https://c.example/m/onnx/model.onnx", "https://a.example/ipfs/bafyx", "https://b.example/ipfs/bafyx"];

test("sources come by priority, unknown kinds are skipped", () => {
  assert.deepEqual(candidates(manifest, artifact, "https://s.example/models/m/1/manifest.json").map((c) => c.url), URLS);
});
test("a preferred kind comes first", () => {
  const [first] = candidates(manifest, artifact, "https://s.example/models/m/1/manifest.json", ["ipfs"]);
  assert.equal(first.url, URLS[2]);
});
test("without a CID a gateway cannot be asked", () => {
  assert.equal(candidates(manifest, { filename: "a" }, "https://s.example/m.json").length, 2);
});
