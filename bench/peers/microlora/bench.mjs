/**
 * Times our learners and the peer's in one page, sample by sample in turn. Sets `window.bench(dim, samples, ms)` and `window.heldOut()`.
 * Both sides get the same arrays and the same closures; a sample is the time per call over about `ms` milliseconds.
 */
import { MicroLoRA, ScopedLoRA, TrajectoryBuffer, init } from "/ours/learning/index.js";

const host = await init("/kernels/" + new URLSearchParams(location.search).get("module"));
const peer = await import("/peer/ruvector_learning_wasm.js");
const peerMemory = (await peer.default()).memory;

const OURS = { MicroLoRA, ScopedLoRA, TrajectoryBuffer, memory: host.memory };
const PEER = { MicroLoRA: peer.WasmMicroLoRA, ScopedLoRA: peer.WasmScopedLoRA, TrajectoryBuffer: peer.WasmTrajectoryBuffer, memory: peerMemory };
const WARM_UP = 150; // ms
let sink = 0; // what is read keeps the work from being dropped

function random(seed) {
  let s = seed >>> 0;
  const uniform = () => { s = (Math.imul(s, 1664525) + 1013904223) >>> 0; return (s + 0.5) / 2 ** 32; };
  return (n, scale = 1) => Float32Array.from({ length: n }, () => scale * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}

/** Claim → (side, dim) → the call that is timed. */
const WORK = {
  "forward": (side, d, x) => { const l = new side.MicroLoRA(d, 0.1, 0.01); return () => { sink += l.forward_array(x)[0]; }; },
  "adapt": (side, d, x, e) => { const l = new side.MicroLoRA(d, 0.1, 1e-6); l.forward_array(x); return () => l.adapt_array(e); },
  "forward_zero_copy": (side, d, x) => {
    const l = new side.MicroLoRA(d, 0.1, 0.01);
    const [at, out] = [l.get_input_ptr(), l.get_output_ptr()];
    const n = Math.min(d, 256); // the peer's buffers hold no more
    const input = d > n && side === PEER ? x.subarray(0, n) : x;
    return () => {
      new Float32Array(side.memory.buffer, at, input.length).set(input);
      l.forward();
      sink += new Float32Array(side.memory.buffer, out, input.length)[0];
    };
  },
  "scoped_forward": (side, d, x) => { const l = new side.ScopedLoRA(d, 0.1, 0.01); return () => { sink += l.forward_array(2, x)[0]; }; },
  "record": (side, d, x) => { const b = new side.TrajectoryBuffer(1000, d); return () => b.record(x, 2, 5, 45.2, 120.5); },
};

function loop(call, times) {
  const start = performance.now();
  for (let i = 0; i < times; i++) call();
  return performance.now() - start;
}

/** How many calls take `ms` or a little more, after a warm-up in which code is compiled and the heap finds its size. */
function calibrate(call, ms) {
  const end = performance.now() + WARM_UP;
  let times = 64;
  let quickest = Infinity; // per call; a pause of the machine must not make the samples short
  while (performance.now() < end) {
    const spent = loop(call, times);
    quickest = Math.min(quickest, spent / times);
    if (spent < 2) times *= 2;
  }
  return Math.ceil(ms / quickest);
}

window.bench = (d, samples, ms) => {
  const draw = random(d);
  const [x, e] = [draw(d, 0.1), draw(d, 0.05)];
  const out = {};
  for (const [name, make] of Object.entries(WORK)) {
    const sides = [["ours", OURS], ["peer", PEER]].map(([label, side]) => ({ label, call: make(side, d, x, e) }));
    for (const side of sides) side.times = calibrate(side.call, ms);
    out[name] = { ours: [], peer: [] };
    for (let n = 0; n < samples; n++) {
      for (const side of n % 2 ? [...sides].reverse() : sides) out[name][side.label].push((loop(side.call, side.times) * 1000) / side.times);
    }
  }
  return out;
};

/** Held-out squared error after / before on y = x + u (v.x), d = 64, 1500 single steps; the peer at its kindest of three settings. */
window.heldOut = (seed) => {
  const d = 64;
  const run = (Class, alpha, lr, sign) => {
    const draw = random(seed);
    const [u, v] = [draw(d, 1 / 8), draw(d, 1 / 8)];
    const target = (x) => { let s = 0; for (let i = 0; i < d; i++) s += v[i] * x[i]; return x.map((n, i) => n + s * u[i]); };
    const held = Array.from({ length: 200 }, () => draw(d));
    const lora = new Class(d, alpha, lr);
    const error = () => held.reduce((sum, x) => { const [y, t] = [lora.forward_array(x), target(x)]; return sum + y.reduce((s, n, i) => s + (n - t[i]) ** 2, 0); }, 0);
    const before = error();
    for (let step = 0; step < 1500; step++) {
      const x = draw(d);
      const t = target(x);
      lora.adapt_array(lora.forward_array(x).map((n, i) => sign * (n - t[i])));
    }
    return error() / before;
  };
  const settings = [[0.1, 0.01], [1, 0.01], [1, 0.05]].flatMap(([alpha, lr]) => [1, -1].map((sign) => [alpha, lr, sign]));
  return { ours: run(OURS.MicroLoRA, 1, 0.05, 1), peer: Math.min(...settings.map((s) => run(PEER.MicroLoRA, ...s))) };
};
window.ready = true;
