/** The browser's tokenizer against Hugging Face's Rust one, on vectors and on the 500 sentences' shapes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { createTokenizer } from "../../web/engine/tokenize.js";
import { programTokenizer } from "../../web/engine/program-encoder.js";
import { split } from "../../web/engine/split.js";

const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
const models = process.env.EDGENET_TEST_MODELS ? `file://${process.env.EDGENET_TEST_MODELS}/` : new URL("../../.build/out/models/", import.meta.url).href;
const tokenizer = createTokenizer(read(`${models}minilm-l6-v2-q8/tokenizer.json`), read(`${models}minilm-l6-v2-q8/tokenizer_config.json`));

const ofEngine = programTokenizer(read(`${models}minilm-l6-v2-q8-2.0.0/tokenizer.json`));

for (const { why, text, ids } of read("../vectors/tokenize.json")) {
  test(`tokens are Python's: ${why}`, () => {
    assert.deepEqual(tokenizer.encode(text), ids);
    assert.deepEqual(ofEngine.encode(text), ids, "from the GGUF file");
  });
}

test("a text of any length keeps all its tokens", () => {
  assert.equal(tokenizer.count("word ".repeat(3000)), 3002);
});

test("a lone surrogate is a replacement character, not a crash", () => {
  assert.deepEqual(tokenizer.encode("a \ud800 b"), tokenizer.encode("a \ufffd b"));
});

test("a passage never has more tokens than split says", () => {
  const text = read("../vectors/tokenize.json").map((row) => row.text).join(" ").repeat(20);
  for (const passage of split(text, tokenizer.countUnit)) {
    assert.ok(tokenizer.count(passage.text) <= passage.tokens && passage.tokens <= 256);
  }
});
