/** MicroLoRA, ScopedLoRA and TrajectoryBuffer in JavaScript: over WebAssembly and over the scalar twins, and as the Python ones. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { scalarHost, wasmHost } from "../../web/engine/kernels.js";
import { MicroLoRA, SCOPES, ScopedLoRA, TrajectoryBuffer, WasmMicroLoRA, WasmScopedLoRA, WasmTrajectoryBuffer, init } from "../../web/engine/learning/index.js";
import { bytes, json } from "./pack-folder.mjs";

const near = (got, want, allowed = 1e-5) => [...want].forEach((v, i) => assert.ok(Math.abs(got[i] - v) <= allowed, `${i}: ${got[i]} is not ${v}`));
function random(seed) {
  let s = seed >>> 0;
  const uniform = () => { s = (Math.imul(s, 1664525) + 1013904223) >>> 0; return (s + 0.5) / 2 ** 32; };
  return (n) => Float32Array.from({ length: n }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}

test("before init an adapter says what to do", () => assert.throws(() => new MicroLoRA(), { code: "kernel_initialization" }));

const HOSTS = { relaxed: await wasmHost(await WebAssembly.compile(bytes("engine.relaxed.wasm"))), scalar: scalarHost() };
for (const [name, host] of Object.entries(HOSTS)) {
  const made = (dim = 4, more = {}) => new MicroLoRA(dim, 0.8, 0.1, { host, ...more });
  const learned = (dim = 6) => {
    const lora = made(dim);
    lora.b.set(random(1)(lora.b.length).map((v) => v * 0.3));
    return lora;
  };

  test(`${name}: the same steps give the same answers as in Python`, () => {
    const { rows, start, answers, microlora, scoped, delta_norm } = json("learning.json");
    const lora = new MicroLoRA(9, 0.7, 0.05, { rank: 3, seed: 5, clip: 2, host });
    const many = new ScopedLoRA(9, 0.7, 0.05, { seed: 5, host });
    assert.deepEqual(lora.export_state(), start);
    rows.forEach(([x, e], i) => {
      near(lora.forward_array(x), answers[i][0], 2e-5);
      near(many.forward_array(i % 3, x), answers[i][1], 2e-5);
      lora.adapt_array(e);
      many.adapt_array(i % 3, e);
      lora.adapt_with_reward([-0.5, 0.25][i % 2]);
      many.adapt_with_reward(i % 3, 0.1);
    });
    near([lora.delta_norm()], [delta_norm], 1e-4);
    const other = made(9, { rank: 3 });
    other.import_state(microlora);
    near(other.forward_array(rows[0][0]), lora.forward_array(rows[0][0]), 1e-4);
    const more = new ScopedLoRA(9, 0.1, 0.01, { host });
    more.import_state(scoped);
    assert.deepEqual(more.export_state(), scoped);
    near(more.forward_array(1, rows[0][0]), many.forward_array(1, rows[0][0]), 1e-4);
    assert.equal(more.total_adapt_count(), many.total_adapt_count());
  });

  for (const seed of [1, 2, 3]) {
    test(`${name}: it learns a rank-one map to a millionth of the error it began with (seed ${seed})`, () => {
      const [d, draw] = [64, random(seed)];
      const [u, v] = [draw(d), draw(d)].map((w) => w.map((n) => n / Math.sqrt(d)));
      const target = (x) => { const s = x.reduce((sum, n, i) => sum + n * v[i], 0); return x.map((n, i) => n + u[i] * s); };
      const held = Array.from({ length: 100 }, () => draw(d));
      const lora = new MicroLoRA(d, 1, 0.05, { seed, host });
      const error = () => held.reduce((sum, x) => { const [y, t] = [lora.forward_array(x), target(x)]; return sum + y.reduce((s, n, i) => s + (n - t[i]) ** 2, 0); }, 0);
      const before = error();
      for (let step = 0; step < 1500; step++) {
        const x = draw(d);
        const t = target(x);
        lora.adapt_array(lora.forward_array(x).map((n, i) => n - t[i]));
      }
      assert.ok(error() < 1e-6 * before, String(error() / before));
      lora.free();
    });
  }

  test(`${name}: adapt is a step down the gradient found by finite differences`, () => {
    const lora = learned();
    const [x, target] = [random(2)(6), random(3)(6)];
    const [a, b] = [Float64Array.from(lora.a), Float64Array.from(lora.b)];
    const loss = () => {
      const h = [0, 1].map((k) => x.reduce((s, n, i) => s + n * a[k * 6 + i], 0));
      return x.reduce((s, n, j) => s + (n + 0.8 * (h[0] * b[j] + h[1] * b[6 + j]) - target[j]) ** 2, 0) / 2;
    };
    const numeric = [a, b].map((m) => m.map((value, i) => {
      m[i] = value + 1e-5;
      const up = loss();
      m[i] = value - 1e-5;
      const down = loss();
      m[i] = value;
      return (up - down) / 2e-5;
    }));
    const y = lora.forward_array(x);
    lora.adapt_array(y.map((n, i) => n - target[i]));
    near(a.map((n, i) => (n - lora.a[i]) / 0.1), numeric[0], 1e-4);
    near(b.map((n, i) => (n - lora.b[i]) / 0.1), numeric[1], 1e-4);
  });

  for (const [improvement, grows] of [[0.15, true], [2, true], [-0.15, false], [-1, false]]) {
    test(`${name}: a reward of ${improvement} ${grows ? "reinforces" : "weakens"} what the adapter adds`, () => {
      const [lora, x] = [learned(), random(4)(6)];
      const delta = () => lora.forward_array(x).map((n, i) => n - x[i]);
      const dot = (p, q) => p.reduce((s, n, i) => s + n * q[i], 0);
      const before = delta();
      lora.adapt_with_reward(improvement);
      assert.equal(dot(delta(), before) / dot(before, before) > 1, grows);
    });
  }

  const [Z, N] = [[0, 0, 0, 0], [0, 0, 0, NaN]];
  const REFUSED = [
    ["input too short", (m) => m.forward_array([1]), "wrong_length"],
    ["no input", (m) => m.forward_array(), "wrong_type"],
    ["NaN in the input", (m) => m.forward_array(N), "not_finite"],
    ["gradient too long", (m) => m.adapt_array([0, 0, 0, 0, 0], Z), "wrong_length"],
    ["NaN in the gradient", (m) => m.adapt_array(N, Z), "not_finite"],
    ["a gradient before any input", (m) => m.adapt_array(Z), "invalid_option"],
    ["a reward before any input", (m) => m.adapt_with_reward(1), "invalid_option"],
    ["a NaN reward", (m) => m.adapt_with_reward(NaN), "not_finite"],
    ["a step that would break the weights", (m) => m.adapt_array([3e38, 3e38, 3e38, 3e38], [3e38, 3e38, 3e38, 3e38]), "output_not_finite"],
  ];
  for (const [reason, act, code] of REFUSED) {
    test(`${name}: refuses ${reason}, and nothing changes`, () => {
      const lora = made();
      const before = lora.export_state();
      assert.throws(() => act(lora), { code });
      assert.deepEqual(lora.export_state(), before);
    });
  }

  test(`${name}: zero-copy forward reads and writes the host's memory`, () => {
    const lora = learned();
    const x = random(5)(6);
    new Float32Array(host.memory.buffer, lora.get_input_ptr(), 6).set(x);
    lora.forward();
    const direct = new Float32Array(host.memory.buffer, lora.get_output_ptr(), 6).slice();
    assert.deepEqual(lora.forward_array(x), direct);
    assert.equal(lora.forward_count(), 2);
  });

  test(`${name}: adapters survive the growth of memory`, () => {
    const lora = learned();
    const x = random(5)(6);
    const before = lora.forward_array(x);
    const big = new TrajectoryBuffer(3000, 512, { host });
    assert.deepEqual(lora.forward_array(x), before);
    lora.adapt_array(x);
    big.free();
  });

  test(`${name}: free gives back all memory, and a freed learner says so`, () => {
    const before = host.used;
    const [lora, scoped, buffer] = [made(), new ScopedLoRA(8, 0.1, 0.01, { host }), new TrajectoryBuffer(10, 4, { host })];
    for (const learner of [lora, scoped, buffer]) { learner.free(); learner.free(); }
    assert.equal(host.used, before);
    for (const act of [() => lora.forward_array(Z), () => lora.forward(), () => scoped.forward_array(0, new Float32Array(8)), () => buffer.record(Z, 0, 0, 1, 1)]) assert.throws(act, { code: "disposed" });
  });

  test(`${name}: a young scope is blended with its category by tenths`, () => {
    const [x, e] = [random(6)(5), random(7)(5)];
    for (const count of [0, 1, 9, 10, 12]) {
      const scoped = new ScopedLoRA(5, 0.5, 0.02, { host });
      for (let i = 0; i < 4; i++) scoped.adapt_array(12, e.map((n) => -n), x);
      for (let i = 0; i < count; i++) scoped.adapt_array(11, e, x);
      const delta = (m) => { const d = m.host.call("microlora_forward", { x, a: m.a, b: m.b, d: 5, r: 2, scale: 0.5, residual: 0 }); return d.outputs.y; };
      const [own, group] = [delta(scoped._scopes[11]), delta(scoped._categories.get("Order"))];
      const w = Math.min(count / 10, 1);
      near(scoped.forward_array(11, x), x.map((n, i) => n + w * own[i] + (1 - w) * group[i]));
      scoped.set_category_fallback(false);
      near(scoped.forward_array(11, x), x.map((n, i) => n + own[i]));
      scoped.free();
    }
  });

  test(`${name}: unknown operators are refused everywhere`, () => {
    const scoped = new ScopedLoRA(3, 0.1, 0.01, { host });
    const x = [1, 2, 3];
    for (const op of [-1, 17, 99, 1.5, "Sort", null, undefined, NaN]) {
      for (const act of [ScopedLoRA.scope_name, (o) => scoped.forward_array(o, x), (o) => scoped.forward(o), (o) => scoped.adapt_array(o, x, x), (o) => scoped.adapt_with_reward(o, 1), (o) => scoped.adapt_count(o)]) {
        assert.throws(() => act(op), { code: "unknown_scope" });
      }
    }
    assert.equal(scoped.total_adapt_count(), 0);
    scoped.free();
  });

  test(`${name}: trajectories are counted over all, judged over those held, and refused whole`, () => {
    const buffer = new TrajectoryBuffer(3, 2, { host });
    assert.equal(buffer.best_improvement(), -Infinity);
    const trials = [[10, 5], [10, 20], [10, 10], [10, 40], [0, 9]];
    trials.forEach(([ms, base], i) => buffer.record([i, i], 2, i, ms, base));
    const gains = [-0.5, 1, 0, 3, 0];
    const mean = gains.reduce((s, g) => s + g) / 5;
    near([buffer.mean_improvement(), buffer.variance(), buffer.success_rate()], [mean, gains.reduce((s, g) => s + (g - mean) ** 2, 0) / 4, 0.4]);
    assert.deepEqual([buffer.best_improvement(), buffer.best_attention(), buffer.len(), buffer.total_count()], [3, 3, 3, 5]);
    assert.deepEqual([buffer.high_quality_count(0.5), buffer.high_quality_count(0.4), buffer.count_by_operator(2)], [1, 3, 3]);
    assert.deepEqual([0, 1].map((i) => [...buffer.gradient(i)]), [[-2, -2], [3, 3]]);
    const WRONG = [[[1], 0, 0, 1, 1, "wrong_length"], [[1, NaN], 0, 0, 1, 1, "not_finite"], [[1, 1], 17, 0, 1, 1, "unknown_scope"], [[1, 1], 0, 256, 1, 1, "invalid_option"],
      [[1, 1], 0, 0, -1, 1, "invalid_option"], [[1, 1], 0, 0, 1, NaN, "not_finite"]];
    for (const [x, op, attention, ms, base, code] of WRONG) assert.throws(() => buffer.record(x, op, attention, ms, base), { code });
    assert.equal(buffer.total_count(), 5);
    assert.deepEqual([...buffer.gradient(1)], [3, 3]);
    buffer.free();
  });

  test(`${name}: a spoilt state is refused and nothing changes`, () => {
    const [lora, scoped] = [learned(), new ScopedLoRA(6, 0.8, 0.1, { host })];
    const [one, many] = [lora.export_state(), scoped.export_state()];
    for (const change of [{ format: "x" }, { dim: 7 }, { a: "AAAA" }, { b: "!" }, { b: null }, { adapt_count: -1 }, { alpha: null }, { a: one.a.replace(/^.{6}/, "AADAfw") }]) {
      assert.throws(() => lora.import_state({ ...one, ...change }), { code: "backup_invalid" });
    }
    for (const change of [{ format: "x" }, { scopes: many.scopes.slice(1) }, { scopes: [...many.scopes.slice(1), {}] }, { categories: {} }]) {
      assert.throws(() => scoped.import_state({ ...many, ...change }), { code: "backup_invalid" });
    }
    assert.deepEqual([lora.export_state(), scoped.export_state()], [one, many]);
  });
}

test("init takes bytes, a module, a host, a loaded pack, or nothing, and both sets of names are there", async () => {
  const module = await WebAssembly.compile(bytes("engine.simd.wasm"));
  for (const source of [bytes("engine.simd.wasm"), module, HOSTS.scalar, { host: HOSTS.relaxed }, undefined]) {
    const host = await init(source);
    const lora = new WasmMicroLoRA();
    assert.deepEqual([lora.dim(), lora.alpha, lora.learning_rate, lora.param_count(), lora.host], [256, 0.1, 0.01, 1024, host]);
    lora.forward_array(new Float32Array(256).fill(0.1));
    lora.adapt_with_reward(0.15);
    assert.ok(lora.adapt_count() === 1 && lora.delta_norm() > 0);
    assert.equal(new WasmScopedLoRA().total_adapt_count(), 0);
    assert.equal(new WasmTrajectoryBuffer().capacity, 1000);
  }
  assert.equal(SCOPES.length, 17);
});

test("results are the caller's own: later calls do not change them", async () => {
  const lora = new MicroLoRA(4, 0.1, 0.01, { host: HOSTS.relaxed });
  const first = lora.forward_array([1, 2, 3, 4]);
  for (let i = 0; i < 5000; i++) lora.forward_array([i, i, i, i]);
  assert.deepEqual([...first], [1, 2, 3, 4]);
});
