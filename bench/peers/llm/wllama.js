/** The peer wllama (llama.cpp in WASM, CPU only) in a page. Times are llama.cpp's own, but for the first token: wall time until it is delivered. */
import { Wllama } from "@wllama/wllama";

let engine;

/** Prompts of exactly `n` tokens: the model's vocabulary has no usable merges, so one letter is one token. */
const letters = (n, seed) => Array.from({ length: n }, (_, i) => "abcdefghijklm"[(i * 5 + seed + (i >> 3)) % 13]).join("");

export const bench = {
  /** ms from navigation to the first token, by wllama's own cache of downloads */
  async first({ model, prompt }) {
    engine = new Wllama({ default: new URL("wllama.wasm", location.href).href });
    await engine.loadModelFromUrl(new URL(model, location.href).href, { useCache: true, n_ctx: 1024, n_gpu_layers: 0 });
    await engine.createCompletion({ prompt: letters(prompt, 0), max_tokens: 1, temperature: 0, cache_prompt: false });
    return performance.now();
  },
  async open({ model, threads, context = 1024 }) {
    engine = new Wllama({ default: new URL("wllama.wasm", location.href).href });
    const blob = await (await fetch(model)).blob();
    const start = performance.now();
    await engine.loadModel([blob], { n_threads: threads, n_ctx: context, n_parallel: 1, n_gpu_layers: 0 });
    return { load_ms: performance.now() - start, threads: engine.getNumThreads(), version: Wllama.getLibllamaVersion() };
  },
  async run({ prompt, decode, seed }) {
    let last, first;
    const start = performance.now();
    await engine.createCompletion({
      prompt: letters(prompt, seed), max_tokens: decode + 1, temperature: 0, top_k: 1, ignore_eos: true, cache_prompt: false, stream: true,
      onData(chunk) { first ??= performance.now(); last = chunk; },
    });
    const { prompt_ms, prompt_n, predicted_ms, predicted_n } = last.timings;
    if (prompt_n !== prompt) throw new Error(`wllama read ${prompt_n} tokens, not ${prompt}`);
    return { prefill_ms: prompt_ms, first_ms: first - start, decode_ms: (predicted_ms * decode) / (predicted_n - 1) };
  },
};
window.bench = bench;
