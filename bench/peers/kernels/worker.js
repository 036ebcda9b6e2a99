/**
 * Times kernels of the engine module beside scalar twins, llama.cpp's WebAssembly kernels and the machine's limits, in turns. Every side has a
 * memory of its own with the same weights; decoding walks over more copies of a matrix than caches hold.
 * `bench {cases, samples, ms}` answers `{[case]: {[side]: number[], agree: number}}`: 10^9 multiply-adds (or bytes, or values) per second.
 */
const MIB = 2 ** 20;
const WARM_UP = 100; // ms, until the optimising compiler is done
const WORKING_SET = 160 * MIB; // of one case's weights
const BLOCKS = { q4_0: [32, 18, [0]], q8_0: [32, 34, [0]], q4_k: [256, 144, [0, 2]], q6_k: [256, 210, [208]], f16: [1, 2, []], f32: [1, 4, []] };
const HALF_SCALE = 0x2418; // 2^-6 or so

const sides = {};
let table;

/** A module with its memory and a bump allocator above its own data. */
async function open(name) {
  const answer = await fetch(`${name}.wasm`);
  if (!answer.ok) return;
  const module = await WebAssembly.compile(await answer.arrayBuffer());
  const none = new Proxy({}, { get: () => () => { throw new Error("an import was called"); } });
  const { exports } = await WebAssembly.instantiate(module, new Proxy({}, { get: () => none }));
  exports.init?.();
  const start = Math.ceil((exports.__heap_base?.value ?? 16 * MIB) / 64) * 64;
  sides[name] = { module, exports, start, free: start };
}

function take(side, bytes) {
  const at = side.free;
  side.free = Math.ceil((at + bytes) / 64) * 64;
  const missing = side.free + MIB - side.exports.memory.buffer.byteLength;
  if (missing > 0) side.exports.memory.grow(Math.ceil(missing / 65536));
  return at;
}

function put(side, bytes) {
  const at = take(side, bytes.byteLength);
  new Uint8Array(side.exports.memory.buffer).set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), at);
  return at;
}

let seed = 1;
const uniform = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;

function floats(n) {
  const out = new Float32Array(n);
  for (let i = 0; i < n; i++) out[i] = 2 * uniform() - 1;
  return out;
}

/** Rows of a file's blocks with finite scales. */
function rawWeights(type, count) {
  const [elements, size, scales] = BLOCKS[type];
  if (type === "f32") return floats(count);
  if (type === "f16") return new Float16Array(floats(count));
  const raw = new Uint8Array((count / elements) * size), view = new DataView(raw.buffer);
  for (let i = 0; i < raw.length; i++) raw[i] = uniform() * 256;
  for (let at = 0; at < raw.length; at += size) for (const s of scales) view.setUint16(at + s, HALF_SCALE, true);
  return raw;
}

/** An engine call as a program of one record; answers the function that runs it with some arguments replaced. */
function engineCall(name, args) {
  const { exports, ...side } = sides.engine, code = table.ops.findIndex(([op]) => op === name), rows = table.ops[code][1], words = [];
  const place = {};
  for (const [arg, kind, dtype] of rows) {
    place[arg] = words.length;
    const value = args[arg] ?? 0;
    if (kind === "weight") words.push(value.at, value.layout);
    else words.push(kind === "value" && dtype === "f32" ? new Uint32Array(Float32Array.of(value).buffer)[0] : value);
  }
  const control = put(sides.engine, new Uint32Array(64));
  const program = put(sides.engine, Uint32Array.of(control, code | (words.length << 16), 1, 0, ...words, 0xffffffff));
  return (replaced = {}) => {
    const memory = new Uint32Array(exports.memory.buffer, program + 16);
    for (const [arg, value] of Object.entries(replaced)) memory[place[arg]] = value;
    const answer = exports.run(program, 0, 1);
    if (answer) throw new Error(`${name} answered ${answer}`);
  };
}

const pick = (count) => { let i = 0; return () => i++ % count; };

/** Copies of a matrix in the engine's layout. */
function kept(type, raw, out, width, copies = 1) {
  const { code, layout } = table.layouts.types[type], form = table.layouts.weights[layout], engine = sides.engine;
  const bytes = Math.ceil(out / form.rows) * Math.ceil(width / form.columns) * form.bytes, source = put(engine, raw), weights = take(engine, bytes * copies);
  for (let i = 0; i < copies; i++) engine.exports.repack(code, form.code, source, weights + i * bytes, out, width, 0, out);
  return { code, form, weights, bytes };
}

function quantizedRows(x, n, d) {
  const { rows, columns, bytes } = table.layouts.quantizedRow, y = take(sides.engine, Math.ceil(n / rows) * (d / columns) * bytes);
  engineCall("quantize", { x, y, n, d, stride: 0 })();
  return y;
}

/** One matrix in every side: {side: () => one product}, and how to read what each answers. */
function matmul({ type, rows: n, out, in: width }) {
  const [elements, size] = BLOCKS[type], rowBytes = (width / elements) * size, raw = rawWeights(type, out * width), x = floats(n * width);
  const copies = n === 1 ? Math.max(1, Math.floor(WORKING_SET / (out * rowBytes))) : 1, works = {}, reads = {};
  const answerOf = (side, at) => () => new Float32Array(sides[side].exports.memory.buffer, at, out).slice(); // of the first row

  const engine = sides.engine, { code, form, weights, bytes } = kept(type, raw, out, width, copies), [xAt, yAt] = [put(engine, x), take(engine, 4 * n * out)];
  const rows = form.quantized ? quantizedRows(xAt, n, width) : xAt;
  const call = engineCall("matmul", { x: rows, w: { at: weights, layout: form.code }, y: yAt, n, out, in: width, act: 0, stride: 0 }), next = pick(copies);
  works.engine = () => call({ w: weights + next() * bytes });
  reads.engine = answerOf("engine", yAt);

  // a scalar loop gains nothing from more rows: the twin takes one
  const twin = sides.twins, [w, tx, ty] = [put(twin, raw), put(twin, x.subarray(0, width)), take(twin, 4 * out)], tq = take(twin, (width * 36) / 32);
  twin.exports.quantize(tx, tq, 1, width);
  works.twins = [() => twin.exports.matmul(code, w, rowBytes, form.quantized ? tq : tx, ty, 1, out, width), out * width];
  reads.twins = answerOf("twins", ty);

  for (const name of ["generic", "arch"].filter((s) => sides[s]?.exports[type] && n === 1)) {
    const side = sides[name], [gx, room, gy] = [put(side, x), take(side, 2 * MIB), take(side, 4 * out)], gw = take(side, out * rowBytes * copies), turn = pick(copies);
    for (let i = 0; i < copies; i++) new Uint8Array(side.exports.memory.buffer).set(new Uint8Array(raw.buffer), gw + i * out * rowBytes);
    works[name] = () => side.exports[type](gw + turn() * out * rowBytes, rowBytes, out, width, gx, room, gy);
  }
  return { works, reads, amount: n * out * width };
}

/** A product of training, in turns with the product that answers a prompt, of the same size. */
function training({ kernel, type, rows: n, out, in: width }) {
  const engine = sides.engine, { form, weights } = kept(type, rawWeights(type, out * width), out, width);
  const x = put(engine, floats(n * Math.max(out, width))), y = take(engine, 4 * n * Math.max(out, width));
  const args = { w: { at: weights, layout: form.code }, y, n, out, in: width, act: 0, stride: 0 };
  const call = engineCall(kernel, { ...args, x: kernel === "matmul_t_int8" ? quantizedRows(x, n, out) : x });
  const forward = engineCall("matmul", { ...args, x: form.quantized ? quantizedRows(x, n, width) : x });
  return { works: { engine: () => call(), forward: () => forward() }, reads: {}, amount: n * out * width };
}

function quantize({ rows: n, in: d }) {
  const [engine, twin, x] = [sides.engine, sides.twins, floats(n * d)], { rows, columns, bytes } = table.layouts.quantizedRow;
  const call = engineCall("quantize", { x: put(engine, x), y: take(engine, Math.ceil(n / rows) * (d / columns) * bytes), n, d, stride: 0 });
  const [at, to] = [put(twin, x), take(twin, (n * d * 36) / 32)];
  return { works: { engine: () => call(), twins: () => twin.exports.quantize(at, to, n, d) }, reads: {}, amount: n * d };
}

function norm({ rows: n, in: d }) {
  const [engine, twin, x, w] = [sides.engine, sides.twins, floats(n * d), floats(d)], works = {}, reads = {};
  const y = take(engine, 4 * n * d), call = engineCall("rms_norm", { x: put(engine, x), weight: put(engine, w), y, n, d, eps: 1e-6 });
  works.engine = () => call();
  const [tx, tw, ty] = [put(twin, x), put(twin, w), take(twin, 4 * n * d)];
  works.twins = () => twin.exports.rms_norm(tx, tw, ty, n, d, 1e-6);
  for (const [name, at] of [["engine", y], ["twins", ty]]) reads[name] = () => new Float32Array(sides[name].exports.memory.buffer, at, n * d).slice();
  return { works, reads, amount: n * d };
}

function attention({ tokens, heads, kvHeads, headDim: d }) {
  const page = 16, pages = tokens / page, [engine, twin] = [sides.engine, sides.twins], scale = d ** -0.5;
  const [q, k, v] = [floats(heads * d), floats(tokens * kvHeads * d), floats(tokens * kvHeads * d)], works = {}, reads = {}, y = take(engine, 4 * heads * d);
  const ids = (...values) => put(engine, Int32Array.from(values));
  const call = engineCall("attention", {
    q: put(engine, q), kcache: put(engine, k), vcache: put(engine, v), positions: ids(tokens - 1), sequences: ids(0), pages: ids(...Array(pages).keys()), y,
    n: 1, heads, kv_heads: kvHeads, head_dim: d, page, max_pages: pages, seqs: 1, cache_pages: pages, kv_type: 0, scale, window: 0, softcap: 0,
  });
  works.engine = () => call();
  const [tq, tk, tv, ty, room] = [put(twin, q), put(twin, k), put(twin, v), take(twin, 4 * heads * d), take(twin, 4 * tokens)];
  works.twins = () => twin.exports.attention(tq, tk, tv, ty, room, tokens, heads, kvHeads, d, page, scale);
  for (const [name, at] of [["engine", y], ["twins", ty]]) reads[name] = () => new Float32Array(sides[name].exports.memory.buffer, at, heads * d).slice();
  return { works, reads, amount: 2 * heads * tokens * d };
}

/** The machine's limits: multiply-adds per second of three kinds, bytes per second read. */
function limits() {
  const { exports } = sides.limits, rounds = 5000, at = put(sides.limits, new Uint8Array(64)), room = take(sides.limits, WORKING_SET);
  new Uint8Array(exports.memory.buffer).fill(1, room, room + WORKING_SET); // untouched pages are all one page
  const [part, sums] = [MIB, 12], next = pick(WORKING_SET / part);
  return {
    int8: [() => exports.int8(at, rounds), rounds * sums * 16],
    int16: [() => exports.int16(at, rounds), rounds * sums * 8],
    f32: [() => exports.f32(at, rounds), rounds * sums * 4],
    read: [() => exports.read(room + next() * part, part), part],
  };
}

/** 10^9 units per second over about `ms`. */
function sample(work, amount, ms) {
  const start = performance.now();
  let calls = 0, now;
  do { work(); calls++; } while ((now = performance.now()) - start < ms);
  return (calls * amount) / (now - start) / 1e6;
}

function inTurns(works, samples, ms) {
  const names = Object.keys(works), out = Object.fromEntries(names.map((name) => [name, []]));
  for (const name of names) sample(...works[name], WARM_UP);
  for (let i = 0; i < samples; i++) for (const name of i % 2 ? names.reverse() : names) out[name].push(sample(...works[name], ms));
  return out;
}

/** Largest difference of two answers over the largest number. */
function difference(a, b) {
  const most = a.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  return a.reduce((m, v, i) => Math.max(m, Math.abs(v - b[i])), 0) / most;
}

const KINDS = { matmul, training, quantize, norm, attention };

onmessage = async ({ data: { cases, samples, ms } }) => {
  try {
    for (const name of ["engine", "twins", "limits", "generic", "arch"]) await open(name);
    table = JSON.parse(new TextDecoder().decode(WebAssembly.Module.customSections(sides.engine.module, "edgenet.lm")[0]));
    for (const op of ["add", "mul", "scale", "softcap", "activation", "glu"]) engineCall(op, { d: 4, cap: 1 })(); // as in a model, the interpreter meets many ops
    const out = {};
    for (const [name, { kind, ...sizes }] of Object.entries(cases)) {
      for (const side of Object.values(sides)) side.free = side.start;
      const { works, reads, amount } = KINDS[kind](sizes), bounds = limits();
      const all = { ...Object.fromEntries(Object.entries(works).map(([side, work]) => [side, Array.isArray(work) ? work : [work, amount]])), ...bounds };
      out[name] = inTurns(all, samples, ms);
      if (reads.twins) out[name].apart = difference(reads.twins(), reads.engine());
    }
    postMessage(out);
  } catch (error) {
    postMessage({ error: String(error?.stack ?? error) });
  }
};
