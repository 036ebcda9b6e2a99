/** A decoder with a key-value cache in onnxruntime-web, driven as transformers.js drives it: greedy, cache outputs fed back. */
import * as ort from "onnxruntime-web/wasm";

let session;

const ids = (list) => new ort.Tensor("int64", BigInt64Array.from(list, BigInt), [1, list.length]);
const ones = (n) => new ort.Tensor("int64", new BigInt64Array(n).fill(1n), [1, n]);
const presents = () => session.outputNames.filter((name) => name.startsWith("present"));

function best(logits) {
  let at = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[at]) at = i;
  return at;
}

async function step(tokens, total, cache) {
  const out = await session.run({ ...cache, input_ids: ids(tokens), attention_mask: ones(total) });
  return { token: best(out.logits.data), cache: Object.fromEntries(presents().map((name) => [name.replace("present", "past_key_values"), out[name]])) };
}

const calls = {
  async open({ model, threads }) {
    Object.assign(ort.env.wasm, { numThreads: threads, proxy: false, wasmPaths: new URL("ort/", self.location.href).href });
    const bytes = new Uint8Array(await (await fetch(model)).arrayBuffer());
    const start = performance.now();
    session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    return { load_ms: performance.now() - start, threads, version: ort.env.versions.web };
  },
  async run({ prompt, decode, seed, kvHeads, headDim }) {
    const empty = () => new ort.Tensor("float32", new Float32Array(0), [1, kvHeads, 0, headDim]);
    const past = Object.fromEntries(presents().map((name) => [name.replace("present", "past_key_values"), empty()]));
    const start = performance.now();
    let at = await step(Array.from({ length: prompt }, (_, i) => 300 + ((i * 37 + seed * 101 + 50) % 3000)), prompt, past);
    const first = performance.now();
    for (let n = 1; n <= decode; n++) at = await step([at.token], prompt + n, at.cache);
    return { prefill_ms: first - start, first_ms: first - start, decode_ms: performance.now() - first };
  },
};

self.onmessage = async ({ data: { call, args } }) => {
  try {
    postMessage({ result: await calls[call](args) });
  } catch (error) {
    postMessage({ error: String(error?.stack ?? error) });
  }
};
