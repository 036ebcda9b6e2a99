/** Which Programs the engine can talk to. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkFace } from "../../web/engine/lm/face.js";

const CAPACITY = { sequences: 4, context: 64, page: 16 };
const buffer = (name, dtype, ...shape) => ({ name, dtype, shape });
const DECODER = [
  ...["tokens", "positions", "sequences"].map((name) => buffer(name, "i32", "n")), buffer("wanted", "i32", "m"), buffer("pages", "i32", 4, 4),
  buffer("sampling", "u32", "m", 16), buffer("history", "i32", "m", 256), buffer("picked", "i32", "m"), buffer("logits", "f32", "m", 99),
];
const ENCODER = [...DECODER.slice(0, 3), buffer("types", "i32", "n"), buffer("embedding", "f32", "s", 8)];

test("face: a decoder and an encoder pass, with inputs of their own beside the needed ones", () => {
  checkFace({ buffers: DECODER, capacity: CAPACITY });
  checkFace({ buffers: ENCODER, capacity: CAPACITY });
});

const REFUSED = [
  ["no output", DECODER.slice(0, 8)],
  ["no sampling", DECODER.filter(({ name }) => name !== "sampling")],
  ["page tables that are too narrow, past which a host would write", DECODER.map((b) => (b.name === "pages" ? buffer("pages", "i32", 4, 3) : b))],
  ["tokens as floats", DECODER.map((b) => (b.name === "tokens" ? buffer("tokens", "f32", "n") : b))],
  ["embeddings by row", ENCODER.map((b) => (b.name === "embedding" ? buffer("embedding", "f32", "n", 8) : b))],
];
for (const [what, buffers] of REFUSED) {
  test(`face: refused by name: ${what}`, () => {
    assert.throws(() => checkFace({ buffers, capacity: CAPACITY }), { code: "program_invalid" });
  });
}
