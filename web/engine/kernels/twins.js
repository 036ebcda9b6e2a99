/**
 * Scalar JavaScript twins of the engine's kernels, for browsers without WebAssembly SIMD: the last fallback, slower, same answers.
 * They work on the same argument blocks in an ordinary ArrayBuffer, so everything above them is unchanged. Runs anywhere.
 */
import { KernelHost } from "./host.js";
import { INTERNAL_ERROR, INVALID_INPUT, INVALID_OUTPUT, INVALID_PARAMS, OK } from "./traps.js";

const MAX_RANK = 16;
const MAX_STEP = 1e30; // see wasm/ops/microlora.c
const PAGE = 65536;
const VIEWS = { f32: Float32Array, i32: Int32Array, u32: Uint32Array };

const finite = (/** @type {Float32Array} */ x) => x.every(Number.isFinite);
const badShape = (/** @type {any} */ p) => p.d <= 0 || p.r <= 0 || p.r > MAX_RANK;
const dot = (a, b, d, k) => {
  let sum = 0;
  for (let i = 0; i < d; i++) sum += a[k * d + i] * b[i];
  return sum;
};
const norm2 = (x) => x.reduce((sum, v) => sum + v * v, 0);

/** y += c * (x A) B */
function addDelta(y, p, a, b, c) {
  const h = Array.from({ length: p.r }, (_, k) => dot(a, p.x, p.d, k));
  for (let j = 0; j < p.d; j++) for (let k = 0; k < p.r; k++) y[j] += c * h[k] * b[k * p.d + j];
}

/** @type {Record<string, (p: any) => number>} kernels on named views and numbers */
const TWINS = {
  all_finite: (p) => (finite(p.x) ? OK : INVALID_INPUT),

  microlora_forward(p) {
    if (badShape(p)) return INVALID_PARAMS;
    if (!finite(p.x)) return INVALID_INPUT;
    const y = p.residual ? Float64Array.from(p.x) : new Float64Array(p.d);
    addDelta(y, p, p.a, p.b, p.scale);
    p.y.set(y);
    return finite(p.y) ? OK : INVALID_OUTPUT;
  },

  microlora_blend(p) {
    if (badShape(p) || !(p.weight >= 0 && p.weight <= 1)) return INVALID_PARAMS;
    if (!finite(p.x)) return INVALID_INPUT;
    const y = Float64Array.from(p.x);
    addDelta(y, p, p.a, p.b, p.scale * p.weight);
    addDelta(y, p, p.ca, p.cb, p.scale * (1 - p.weight));
    p.y.set(y);
    return finite(p.y) ? OK : INVALID_OUTPUT;
  },

  microlora_adapt(p) {
    if (badShape(p) || !(p.lr >= 0)) return INVALID_PARAMS;
    if (!finite(p.x) || !finite(p.e)) return INVALID_INPUT;
    const { d, r, x, e, a, b, scale, clip } = p;
    const [h, g] = [[a, x], [b, e]].map(([m, v]) => Array.from({ length: r }, (_, k) => dot(m, v, d, k)));
    const norm = Math.abs(scale) * Math.sqrt(norm2(x) * norm2(g) + norm2(e) * norm2(h));
    const c = -p.lr * scale * (clip > 0 && norm > clip ? clip / norm : 1);
    const most = (v) => v.reduce((m, n) => Math.max(m, Math.abs(n)), 0);
    if (!(most(h) * Math.abs(c) * most(e) <= MAX_STEP && most(g) * Math.abs(c) * most(x) <= MAX_STEP)) return INTERNAL_ERROR;
    for (let k = 0, at = 0; k < r; k++) {
      for (let i = 0; i < d; i++, at++) {
        b[at] += c * h[k] * e[i];
        a[at] += c * g[k] * x[i];
      }
    }
    return OK;
  },

  normalize(p) {
    if (p.rows < 0 || p.d <= 0) return INVALID_PARAMS;
    let code = OK;
    for (let at = 0; at < p.rows * p.d; at += p.d) {
      const x = p.x.subarray(at, at + p.d);
      const good = finite(x);
      if (!good) code = INVALID_INPUT;
      const norm = Math.sqrt(norm2(x));
      p.y.set(good && norm > 0 ? x.map((v) => v / norm) : new Float32Array(p.d), at);
    }
    return code;
  },

  topk_dot(p) {
    if (p.rows < 0 || p.d <= 0 || p.k <= 0) return INVALID_PARAMS;
    p.index.fill(0xffffffff);
    p.score.fill(-Infinity);
    if (!finite(p.q)) return INVALID_INPUT;
    for (let row = 0; row < p.rows; row++) {
      const s = Math.fround(dot(p.m, p.q, p.d, row));
      if (!(s > p.score[p.k - 1])) continue;
      let at = p.k - 1;
      for (; at > 0 && p.score[at - 1] < s; at--) {
        p.score[at] = p.score[at - 1];
        p.index[at] = p.index[at - 1];
      }
      p.score[at] = s;
      p.index[at] = row;
    }
    return OK;
  },
};

/** Memory that grows as WebAssembly's does: the old buffer is detached. */
class PlainMemory {
  buffer = new ArrayBuffer(PAGE);

  /** @param {number} pages */
  grow(pages) {
    const before = this.buffer.byteLength;
    const old = structuredClone(this.buffer, { transfer: [this.buffer] });
    this.buffer = new ArrayBuffer(before + pages * PAGE);
    new Uint8Array(this.buffer).set(new Uint8Array(old));
    return before / PAGE;
  }
}

/** The arguments of a block as numbers and views by name. */
function read(memory, layout, block) {
  const words = new DataView(memory.buffer, block);
  const p = { threads: 1 };
  layout.forEach(([name, kind, dtype], i) => {
    if (kind === "value") p[name] = dtype === "f32" ? words.getFloat32(4 * i, true) : words.getInt32(4 * i, true);
  });
  p["2r"] = 2 * p.r;
  layout.forEach(([name, kind, dtype, shape], i) => {
    if (kind === "value") return;
    const length = shape.reduce((n, size) => n * (typeof size === "number" ? size : p[size]), 1);
    p[name] = new VIEWS[dtype](memory.buffer, words.getUint32(4 * i, true), Math.max(length, 0));
  });
  return p;
}

/**
 * A host of scalar twins.
 * @param {import("./host.js").Layouts} layouts from an engine module's section or from the built-in table
 */
export function scalarHost(layouts = LAYOUTS) {
  const memory = new PlainMemory();
  const names = Object.keys(layouts).filter((name) => name in TWINS);
  const ops = Object.fromEntries(names.map((name) => [name, (block, thread) => (thread ? OK : TWINS[name](read(memory, layouts[name], block)))]));
  return new KernelHost(memory, ops, Object.fromEntries(names.map((name) => [name, layouts[name]])), { name: "scalar", heapBase: 16 });
}

const array = (kind, name, ...shape) => [name, kind, "f32", shape];
const values = (dtype, ...names) => names.map((name) => [name, "value", dtype, []]);
const indices = (name, ...shape) => [name, "out", "u32", shape];
const FACTORS = [array("in", "a", "r", "d"), array("in", "b", "r", "d")];

/** Used when there is no engine module to read them from; a test compares it with the engine's own. @type {any} */
export const LAYOUTS = {
  all_finite: [array("in", "x", "n"), ...values("i32", "n")],
  microlora_forward: [array("in", "x", "d"), ...FACTORS, array("out", "y", "d"), array("scratch", "h", "r"), ...values("i32", "d", "r"), ...values("f32", "scale"), ...values("i32", "residual")],
  microlora_blend: [
    array("in", "x", "d"), ...FACTORS, array("in", "ca", "r", "d"), array("in", "cb", "r", "d"), array("out", "y", "d"), array("scratch", "h", "r"),
    ...values("i32", "d", "r"), ...values("f32", "scale", "weight"),
  ],
  microlora_adapt: [
    array("in", "x", "d"), array("in", "e", "d"), array("inout", "a", "r", "d"), array("inout", "b", "r", "d"), array("scratch", "h", "2r"),
    ...values("i32", "d", "r"), ...values("f32", "scale", "lr", "clip"),
  ],
  normalize: [array("in", "x", "rows", "d"), array("out", "y", "rows", "d"), ...values("i32", "rows", "d")],
  topk_dot: [array("in", "m", "rows", "d"), array("in", "q", "d"), indices("index", "threads", "k"), array("out", "score", "threads", "k"), ...values("i32", "rows", "d", "k")],
};
