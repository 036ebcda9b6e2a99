/** The tokenizer in JavaScript, against the libraries that made the tokenizers and llama.cpp (tools/oracles/tokenizers_make.py). */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { Bpe } from "../../web/text/bpe.js";
import { cutter } from "../../web/text/cut.js";
import { Decoder } from "../../web/text/decode.js";
import { StopSequences } from "../../web/text/stops.js";
import { TextTokenizer } from "../../web/text/tokenizer.js";

const folder = new URL("../vectors/tokenizer/", import.meta.url);
const read = (name) => JSON.parse(readFileSync(new URL(name, folder), "utf8"));
const TEXTS = read("texts.json");
const FILES = Object.fromEntries(
  readdirSync(folder).filter((name) => name !== "texts.json" && name !== "stops.json").map((name) => [name.replace(".json", ""), read(name)]),
);
// As in tests/unit/test_tokenizer.py: where the maker and llama.cpp part, whose rule holds.
const LLAMA_CPP_HOLDS = new Set(["sentencepiece words that are one token", "unigram words that are one token"]);
const NOT_COMPARED = new Set(["unigram-spaces-kept words that are one token"]);

/** The tokenizer.json of a file's case. */
function jsonOf(file, { parts }) {
  const { ignore_merges, ...outer } = parts;
  return { ...file.tokenizer, ...outer, model: { ...file.tokenizer.model, ...(ignore_merges === null ? {} : { ignore_merges }) } };
}

for (const [name, file] of Object.entries(FILES)) {
  for (const found of file.cases) {
    test(`tokens are those of the tokenizer's maker: ${name} ${found.pre ?? ""}`, () => {
      const tokenizer = new TextTokenizer(jsonOf(file, found));
      for (const [why, text] of Object.entries(TEXTS)) {
        if (NOT_COMPARED.has(`${name} ${why}`)) continue;
        const ids = LLAMA_CPP_HOLDS.has(`${name} ${why}`) ? found["llama.cpp"][why] : found.ids[why];
        assert.deepEqual(tokenizer.encode(text), ids, why);
      }
    });
  }

  test(`no text becomes a special token: ${name}`, () => {
    const tokenizer = new TextTokenizer(file.tokenizer);
    const special = [...tokenizer.special.values()].filter(({ text }) => !text.toLowerCase().includes("unk"));
    const written = special.map(({ text }) => text);
    const ids = tokenizer.encode(written.join("") + " " + written.join(" "));
    assert.deepEqual(special.filter(({ id }) => ids.includes(id)), []);
    assert.deepEqual(tokenizer.encode(written.join(""), { special: true }), special.map(({ id }) => id));
  });

  test(`a stream gives the same text and never half a character: ${name}`, () => {
    const tokenizer = new TextTokenizer(file.tokenizer);
    for (const text of Object.values(TEXTS)) {
      const ids = tokenizer.encode(text);
      const stream = tokenizer.stream({ atStart: true });
      const pieces = ids.map((id) => stream.push(id));
      assert.equal(pieces.join("") + stream.end(), tokenizer.decode(ids));
      if (!text.includes("\ufffd")) assert.ok(!pieces.some((piece) => piece.includes("\ufffd")), text);
    }
  });
}

for (const name of ["byte-level", "sentencepiece", "sentencepiece-no-prefix"]) {
  test(`every text comes back: ${name}`, () => {
    const tokenizer = new TextTokenizer(FILES[name].tokenizer);
    for (const text of Object.values(TEXTS)) {
      if (/[\u2581\u0120]|<think>/.test(text)) continue; // the marks themselves read as spaces
      assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
    }
  });
}

test("a lone surrogate is a replacement character, not a crash", () => {
  const tokenizer = new TextTokenizer(FILES["byte-level"].tokenizer);
  assert.deepEqual(tokenizer.encode("a \ud800 b"), tokenizer.encode("a \ufffd b"));
});

test("special tokens swallow white space where the file says so, the longest wins, and nothing is lost elsewhere", () => {
  const word = (text, id, rstrip = false, lstrip = false) => ({ id, text, rstrip, lstrip });
  const cut = cutter([word("<a>", 1, true), word("<a>b", 2), word("<c>", 3, false, true)]);
  const shown = (text) => cut(text).map((piece) => (typeof piece === "string" ? piece : piece.id));
  assert.deepEqual(shown("x <a> \n y"), ["x ", 1, "y"]);
  assert.deepEqual(shown("<a>b<a>"), [2, 1]);
  assert.deepEqual(shown("x \n<c> y"), ["x", 3, " y"]);
  assert.deepEqual(shown(""), []);
});

const bytes = { model: { type: "BPE", vocab: Object.fromEntries(Array.from({ length: 256 }, (_, b) => [`<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`, b])) } };

for (const [why, data, text] of [
  ["whole", [0xf0, 0x9f, 0x91, 0x8d], "👍"],
  ["cut off", [0xf0, 0x9f, 0x91], "\ufffd"],
  ["no UTF-8", [0x61, 0xff, 0x62], "a\ufffdb"],
  ["cut off by another", [0xe2, 0x82, 0xe2, 0x82, 0xac], "\ufffd€"],
  ["a surrogate", [0xed, 0xa0, 0x80], "\ufffd\ufffd\ufffd"],
  ["a byte order mark", [0xef, 0xbb, 0xbf, 0x78], "\ufeffx"],
]) {
  test(`broken bytes become replacement characters: ${why}`, () => {
    assert.equal(new Decoder({ ...bytes, decoder: { type: "ByteFallback" } }).decode(data), text);
  });
}

/** [what is wrong, fields of a tokenizer.json] @type {[string, any][]} */
const BROKEN = [
  ["no file at all", null],
  ["added tokens that are no list", { added_tokens: 5 }],
  ["an added token without its text", { added_tokens: [{ id: 1, special: true }] }],
  ["an id that is no number", { model: { type: "BPE", vocab: { a: "length" }, merges: [] } }],
  ["a decoder without its steps", { decoder: { type: "Sequence" } }],
  ["a post-processor of something else", { post_processor: { type: "TemplateProcessing", single: 5 } }],
  ["a model of no known type", { model: { type: "Nope" } }],
];
for (const [what, fields] of BROKEN) {
  test(`a tokenizer that cannot be built is a named error: ${what}`, () => {
    const file = fields && { added_tokens: [], model: { type: "BPE", vocab: { a: 0 }, merges: [] }, ...fields };
    assert.throws(() => new TextTokenizer(file), { code: "tokenizer_invalid", message: /Get the model's files anew/ });
  });
}

test("an id that is no token is a named error", () => {
  assert.throws(() => new Decoder(FILES["byte-level"].tokenizer).decode([99999]), { name: "TokenizerInvalid", code: "tokenizer_invalid" });
});

test("the merge of lowest rank comes first, of equals the leftmost, whatever the length", () => {
  const bpe = new Bpe({ vocab: { a: 0, b: 1, aa: 2, ab: 3, aab: 4 }, merges: ["a a", "a b", "aa b"] });
  assert.deepEqual(bpe.encode("aaab"), [2, 3]);
  assert.deepEqual(bpe.encode("aab"), [4]);
  assert.equal(bpe.encode("a".repeat(100_001)).length, 50_001);
});

for (const { why, stops, pieces, shown, found } of read("stops.json")) {
  test(`stop sequences: ${why}`, () => {
    const stop = new StopSequences(stops);
    const given = pieces.map((piece) => stop.push(piece));
    assert.deepEqual([...given, stop.end()], shown);
    assert.equal(stop.found, found);
  });
}

test("an empty stop sequence is refused", () => assert.throws(() => new StopSequences(["a", ""]), { code: "invalid_option" }));
