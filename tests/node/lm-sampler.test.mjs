/** Tokens drawn from another engine's logits are those of the reference, in every build with a memory of its own. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Sampler } from "../../web/engine/lm/sampler.js";
import { bytes, json } from "./pack-folder.mjs";

const MASK = 12; // the word with a mask's address, which only the engine's own host can give
const WORDS = 16, HISTORY = 256;
const { records } = json("vectors.json");
const array = (Type, text) => new Type(Uint8Array.from(Buffer.from(text, "base64")).buffer);

/** A reference record as its rows: {reason, logits, words, history, token}. */
function rowsOf({ reason, words: { m, v }, arrays: { logits, params, history }, outputs: { picked } }) {
  const [l, p, h, k] = [array(Float32Array, logits.data), array(Uint32Array, params.data), array(Int32Array, history.data), array(Int32Array, picked)];
  const row = (all, width, i) => all.slice(i * width, (i + 1) * width);
  return Array.from({ length: m }, (_, i) => ({ reason, logits: row(l, v, i), words: row(p, WORDS, i), history: row(h, HISTORY, i), token: k[i] })).filter(({ words }) => !words[MASK]);
}

const rows = records.filter(({ kernel, code }) => kernel === "sample" && code === 0).flatMap(rowsOf);

for (const name of ["simd", "relaxed"]) {
  test(`sampler: ${rows.length} rows draw the reference's tokens on the build ${name}`, async () => {
    const build = { name, shared: false, module: await WebAssembly.compile(bytes(`engine.${name}.wasm`)) };
    const samplers = new Map();
    for (const { reason, logits, words, history, token } of rows) {
      if (!samplers.has(logits.length)) samplers.set(logits.length, await Sampler.open(build, logits.length));
      assert.equal(samplers.get(logits.length).draw(logits, words, history), token, reason);
    }
    assert.ok(rows.length > 50 && samplers.size > 2);
  });
}
