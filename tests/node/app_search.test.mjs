/** The app's pure parts: what is highlighted, how texts are cut, search as one types, what moved, bytes to text. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { readFile } from "node:fs/promises";
import { typeOf } from "../../web/app/library/files.js";
import { decodeText } from "../../web/text/bytes-to-text.js";
import { blocks, cut, snippet, wordRanges } from "../../web/app/search/highlight.js";
import { byDocument, Searcher } from "../../web/app/search/searcher.js";
import { moves, say } from "../../web/app/teach/moves.js";
import { bytes, count, fingerprint } from "../../web/app/format.js";

const marked = (text, query) => wordRanges(text, query).map(([a, b]) => text.slice(a, b));
const WORDS = [
  ["inflections share a stem", "Brakes squealing; the brake squeals.", "noisy brake squeal", ["Brakes", "squealing", "brake", "squeals"]],
  ["common words are not marked", "What to do about the house", "what to do about it", []],
  ["letters beyond ASCII", "Über Äpfel und Bäume", "äpfel", ["Äpfel"]],
  ["an empty query", "anything", "", []],
  ["emoji and signs are no words", "🙂 ok 🙂", "🙂", []],
];
for (const [why, text, query, expected] of WORDS) test(`words to mark: ${why}`, () => assert.deepEqual(marked(text, query), expected));

test("a snippet starts near the first marked word and never cuts a character in two", () => {
  const text = `${"🙂".repeat(400)} needle ${"🙂".repeat(400)}`;
  const { start, end, before, after } = snippet(text, wordRanges(text, "needle"));
  assert.ok(before && after && end - start <= 281);
  assert.ok(!/^[\udc00-\udfff]|[\ud800-\udbff]$/.test(text.slice(start, end)));
});

test("blocks of a Markdown text keep every word and know headings and lists", () => {
  const text = "# Title\n\nOne\ntwo\n\n- a\n- b\n1. c\n#hash";
  assert.deepEqual(
    blocks(text, "md").map(({ kind, start, end }) => [kind, text.slice(start, end)]),
    [
      ["h1", "Title"],
      ["p", "One"],
      ["p", "two"],
      ["li", "a"],
      ["li", "b"],
      ["li", "1. c"],
      ["p", "#hash"],
    ],
  );
  assert.deepEqual(
    blocks(text, "txt").map(({ kind }) => kind),
    Array(7).fill("p"),
  );
});

test("cut gives back the whole span, piece by piece", () => {
  const pieces = cut(10, 30, [
    [0, 12],
    [15, 20],
    [28, 99],
  ]);
  assert.deepEqual(
    pieces.map(({ start, end, inside }) => [start, end, inside]),
    [
      [10, 12, true],
      [12, 15, false],
      [15, 20, true],
      [20, 28, false],
      [28, 30, true],
    ],
  );
});

test("a document appears once, with its best passage", () => {
  const found = byDocument([
    { id: "a", row: 3, score: 0.9 },
    { id: "b", row: 0, score: 0.8 },
    { id: "a", row: 1, score: 0.7 },
  ]);
  assert.deepEqual(found, [
    { id: "a", row: 3, score: 0.9, others: [{ row: 1, score: 0.7 }] },
    { id: "b", row: 0, score: 0.8, others: [] },
  ]);
});

/** An engine whose answers come when the test says so. */
function slowEngine() {
  const asked = [];
  return {
    asked,
    search: ({ text, signal }) =>
      new Promise((resolve, reject) =>
        asked.push({ text, signal, reject, answer: (id) => resolve({ results: [{ id, row: 0, score: 1 }], vector: Float32Array.of(1) }) }),
      ),
  };
}
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("an overtaken search is given up and its late answer is never shown", async () => {
  const engine = slowEngine(),
    searcher = new Searcher(engine, { pause: 0 });
  const first = searcher.ask("old"),
    second = searcher.ask("new");
  engine.asked[1].answer("from new");
  engine.asked[0].answer("from old");
  await Promise.all([first, second]);
  assert.equal(engine.asked[0].signal.aborted, true);
  assert.deepEqual([searcher.outcome.value.query, searcher.outcome.value.found[0].id], ["new", "from new"]);
});

test("emptying the box while a search runs leaves the list empty", async () => {
  const engine = slowEngine(),
    searcher = new Searcher(engine, { pause: 0 });
  const search = searcher.ask("old");
  searcher.type("  ");
  engine.asked[0].answer("late");
  await search;
  assert.deepEqual([searcher.outcome.value.state, searcher.outcome.value.found], ["empty", []]);
});

test("a failed search says so, and a failure of an overtaken one does not", async () => {
  const engine = slowEngine(),
    searcher = new Searcher(engine, { pause: 0 });
  const first = searcher.ask("a"),
    second = searcher.ask("b");
  engine.asked[0].reject(new Error("stale"));
  await settled();
  assert.equal(searcher.outcome.value.state !== "failed", true);
  engine.asked[1].reject(new Error("real"));
  await Promise.all([first, second]);
  assert.deepEqual([searcher.outcome.value.state, searcher.outcome.value.error.message], ["failed", "real"]);
});

test("moves tell who rose, fell, came and left", () => {
  const ids = (text) => [...text].map((id) => ({ id }));
  const found = moves(ids("abcd"), ids("cabe"), 4);
  assert.deepEqual(
    found.map(({ id, from, to }) => [id, from, to]),
    [
      ["c", 3, 1],
      ["a", 1, 2],
      ["b", 2, 3],
      ["e", null, 4],
      ["d", 4, null],
    ],
  );
  assert.deepEqual(
    found.map((move) => say(move, move.id)),
    ["c rises from 3 to 1", "a falls from 1 to 2", "b falls from 2 to 3", "e is new at 4", "d left the list from 4"],
  );
});

const utf8 = (text) => new TextEncoder().encode(text);
const DECODED = [
  ["UTF-8 with a byte order mark", Uint8Array.of(0xef, 0xbb, 0xbf, 0x61), "a", 0],
  ["UTF-16 little endian", Uint8Array.of(0xff, 0xfe, 0x61, 0, 0xe4, 0), "aä", 0],
  ["UTF-16 big endian", Uint8Array.of(0xfe, 0xff, 0, 0x61), "a", 0],
  ["a stray Latin-1 byte", Uint8Array.of(...utf8("caf"), 0xe9, ...utf8(" au lait")), "caf\ufffd au lait", 1],
  ["emoji and old line ends", utf8("🙂\r\nb\rc"), "🙂\nb\nc", 0],
];
for (const [why, data, text, replaced] of DECODED)
  test(`decodes ${why}`, () => assert.deepEqual(decodeText(data, "x"), { text, replaced }));

const BINARY = [
  ["a PDF", utf8("%PDF-1.7 text text"), /PDF/],
  ["a zip", Uint8Array.of(0x50, 0x4b, 3, 4, 20), /zip or office/],
  ["zero bytes", utf8("abc\0def"), /binary/],
  ["text in another encoding", Uint8Array.from({ length: 400 }, (_, i) => 0x80 + (i % 60)), /not UTF-8/],
];
for (const [why, data, message] of BINARY)
  test(`refuses ${why}`, () =>
    assert.throws(
      () => decodeText(data, "x"),
      (error) => error.code === "not_text" && message.test(error.message),
    ));

test("types follow the name's ending", () =>
  assert.deepEqual(["a.MD", "b.html", "c.txt", "README", "d.tar.gz"].map(typeOf), ["md", "html", "txt", "txt", "txt"]));

test("numbers are said as people read them", () => {
  assert.deepEqual([bytes(0), bytes(999), bytes(23_156_789), bytes(1_500)], ["0 B", "999 B", "23 MB", "1.5 KB"]);
  assert.deepEqual(
    [count(1, "mark"), count(5000, "file"), fingerprint("1a2b3c4d5e6f7a8b")],
    ["1 mark", "5,000 files", "1a2b 3c4d 5e6f 7a8b"],
  );
});

test("the page has no inline script or style, and its policy allows none", async () => {
  const html = await readFile(fileURLToPath(new URL("../../web/index.html", import.meta.url)), "utf8");
  assert.match(html, /default-src 'self'; script-src 'self' 'wasm-unsafe-eval'/);
  assert.doesNotMatch(html, /unsafe-inline|'unsafe-eval'| style=|<style| on\w+=|<script>/);
});
