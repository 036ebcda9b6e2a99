/** The browser's splitter and batches. The vectors are Python's, with offsets in code points; JavaScript's are UTF-16 units. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { planBatches } from "../../web/engine/batching.js";
import { split } from "../../web/engine/split.js";

const vectors = JSON.parse(readFileSync(new URL("../vectors/split.json", import.meta.url), "utf8"));
const count = (unit) => Math.ceil(Array.from(unit).length / 4);
const points = (text, units) => Array.from(text.slice(0, units)).length;

for (const { why, text, options, passages } of vectors) {
  test(`passages are Python's: ${why}`, () => {
    const found = split(text, count, { maxTokens: options.max_tokens, overlap: options.overlap });
    assert.deepEqual(found.map((p) => [points(text, p.start), points(text, p.end), p.tokens]), passages);
    for (const p of found) assert.equal(p.text, text.slice(p.start, p.end));
  });
}

for (const [text, why] of [["", "nothing"], [" \n\t\u3000", "white space"]]) {
  test(`no passages of ${why}`, () => assert.throws(() => split(text, count), { code: "empty_text" }));
}

for (const options of [{ maxTokens: 15 }, { maxTokens: 257 }, { maxTokens: 1.5 }, { overlap: -1 }, { overlap: 129 }]) {
  test(`limits that make no sense: ${JSON.stringify(options)}`, () => assert.throws(() => split("a b", count, options), { code: "invalid_option" }));
}

test("a megabyte of one paragraph is covered and every passage fits", () => {
  const text = "some words of a long line without an end ".repeat(25000);
  const passages = split(text, count);
  assert.ok(passages.every((p) => p.tokens <= 256));
  assert.equal(passages[0].start, 0);
  assert.equal(passages.at(-1).end, text.trimEnd().length);
  passages.slice(1).forEach((p, i) => assert.ok(p.start > passages[i].start && !text.slice(passages[i].end, p.start).trim()));
});

test("batches hold every text once, within the limit, and pad little", () => {
  const lengths = Array.from({ length: 200 }, (_, i) => 3 + (i * 37) % 250);
  const batches = planBatches(lengths, 512);
  assert.deepEqual(batches.flatMap((b) => b.rows).sort((a, b) => a - b), lengths.map((_, i) => i));
  for (const { rows, length } of batches) {
    assert.ok(rows.length * length <= 512);
    assert.equal(length, Math.max(...rows.map((i) => lengths[i])));
  }
  const real = lengths.reduce((a, b) => a + b), padded = batches.reduce((sum, { rows, length }) => sum + rows.length * length, 0);
  assert.ok(padded < 1.05 * real, `${padded} for ${real}`);
});

test("a text longer than a batch goes alone", () => {
  assert.deepEqual(planBatches([3, 600, 3], 512), [{ rows: [0, 2], length: 3 }, { rows: [1], length: 600 }]);
});
