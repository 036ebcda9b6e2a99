/** The vector index against a plain JavaScript scan. Needs the built kernels (`python build.py build`). */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { scalarHost, wasmHost } from "../../web/engine/kernels.js";
import { VectorIndex } from "../../web/engine/vector-index.js";

const module = new WebAssembly.Module(readFileSync(new URL("../../.build/out/kernels/engine.simd.wasm", import.meta.url)));
const host = () => wasmHost(module);
const D = 24;

/** Deterministic numbers in (−1, 1). */
function numbers(seed) {
  let state = seed;
  return () => ((state = (Math.imul(state, 1103515245) + 12345) >>> 0) / 2 ** 31) - 1;
}
const vectors = (seed, rows, d = D) => Float32Array.from({ length: rows * d }, numbers(seed));
const unit = (v) => { const n = Math.hypot(...v); return Float32Array.from(v, (x) => x / n); };
const rowsOf = (flat, d = D) => Array.from({ length: flat.length / d }, (_, i) => flat.slice(i * d, (i + 1) * d));
const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** What the index should answer: `held` is id → flat rows. */
function scan(held, query, k) {
  const q = unit(query);
  const all = [...held].flatMap(([id, flat]) => rowsOf(flat).map((v, row) => ({ id, row, score: dot(unit(v), q) })));
  return all.sort((a, b) => b.score - a.score).slice(0, k);
}
function agrees(index, held, query, k) {
  const { results } = index.search(query, k);
  const want = scan(held, query, k);
  assert.deepEqual(results.map(({ id, row }) => `${id}/${row}`), want.map(({ id, row }) => `${id}/${row}`));
  results.forEach(({ score }, i) => assert.ok(Math.abs(score - want[i].score) < 1e-5));
}

test("every search agrees with a full scan through 300 random puts, replacements and deletions", async () => {
  const index = new VectorIndex(await host(), D);
  const held = new Map();
  const random = numbers(7);
  for (let step = 0; step < 300; step++) {
    const id = `doc${Math.floor((random() + 1) * 15)}`;
    if (random() < -0.3) {
      assert.equal(index.delete(id), held.delete(id));
    } else {
      const flat = vectors(step + 1, Math.floor((random() + 1) * 6));
      index.put(id, flat);
      held.set(id, flat);
    }
    assert.equal(index.size, [...held.values()].reduce((sum, flat) => sum + flat.length / D, 0));
    agrees(index, held, vectors(1000 + step, 1), 7);
  }
  for (const [id, flat] of held) assert.deepEqual(rowsOf(index.get(id)).map((v) => Math.hypot(...v).toFixed(5)), rowsOf(flat).map(() => "1.00000"));
});

test("the scalar twins answer the same where WebAssembly SIMD is missing", () => {
  const index = new VectorIndex(scalarHost(), D);
  const held = new Map([["a", vectors(1, 9)], ["b", vectors(2, 3000)]]);
  for (const [id, flat] of held) index.put(id, flat);
  agrees(index, held, vectors(3, 1), 20);
});

test("the adapter moves the query as the formula says, and only when asked", async () => {
  const index = new VectorIndex(await host(), D);
  index.put("a", vectors(1, 50));
  const [A, B, x] = [vectors(2, 3), vectors(3, 3), unit(vectors(4, 1))]; // A is d×3, B 3×d
  index.setAdapter({ A, B, alpha: 0.5 });
  const h = [0, 1, 2].map((k) => x.reduce((sum, v, i) => sum + v * A[i * 3 + k], 0));
  const moved = unit(x.map((v, j) => v + 0.5 * h.reduce((sum, hk, k) => sum + hk * B[k * D + j], 0)));
  const held = new Map([["a", index.get("a")]]);
  const want = scan(held, moved, 5).map(({ row }) => row);
  assert.deepEqual(index.search(x, 5).results.map(({ row }) => row), want);
  assert.deepEqual(index.search(x, 5, false).results.map(({ row }) => row), scan(held, x, 5).map(({ row }) => row));
  assert.deepEqual(index.search(x, 5).vector, index.search(x, 5, false).vector);
});

const REFUSED = [
  ["NaN in a row", "not_finite", (index) => index.put("a", Float32Array.from({ length: D }, () => NaN))],
  ["no whole rows", "wrong_length", (index) => index.put("a", new Float32Array(D + 1))],
  ["a query of another length", "wrong_length", (index) => index.search(new Float32Array(D - 1), 1)],
  ["a query with an infinity", "not_finite", (index) => index.search(new Float32Array(D).fill(Infinity), 1)],
  ["k of nothing", "invalid_option", (index) => index.search(new Float32Array(D).fill(1), 0)],
  ["an adapter of another size", "wrong_length", (index) => index.setAdapter({ A: new Float32Array(D), B: new Float32Array(2 * D), alpha: 1 })],
  ["an unknown document", "document_not_found", (index) => index.get("nobody")],
];
for (const [what, code, act] of REFUSED) {
  test(`${what} is refused and nothing changes`, async () => {
    const index = new VectorIndex(await host(), D);
    index.put("a", vectors(1, 3));
    assert.throws(() => act(index), { code });
    agrees(index, new Map([["a", vectors(1, 3)]]), vectors(2, 1), 3);
  });
}

test("50,000 rows of 384 fit and the best row of each of them is itself", async () => {
  const index = new VectorIndex(await host(), 384);
  const flat = vectors(5, 1000, 384);
  for (let i = 0; i < 50; i++) index.put(`doc${i}`, Float32Array.from(flat, (x, j) => x + (j % 384 === i ? 3 : 0)));
  assert.equal(index.size, 50_000);
  assert.ok(index.memory > 76.8e6 && index.memory < 82e6, `${index.memory} bytes`);
  for (const [id, row] of [["doc0", 0], ["doc49", 999], ["doc17", 500]]) {
    const [{ id: found, row: at, score }] = index.search(index.get(id, row), 1).results;
    assert.deepEqual([found, at], [id, row]);
    assert.ok(Math.abs(score - 1) < 1e-5);
  }
});

test("an empty index answers nothing, and zero rows are no match for anybody", async () => {
  const index = new VectorIndex(await host(), D);
  assert.deepEqual(index.search(vectors(1, 1), 5).results, []);
  index.put("empty", new Float32Array(0));
  index.put("zero", new Float32Array(D));
  assert.equal(index.search(vectors(1, 1), 5).results[0].score, 0);
});
