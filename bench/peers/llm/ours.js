/** Our side: the built site's language engine, driven through its worker protocol, the file given as a Blob. */
import { connect } from "../../../web/workers/rpc.js";

let worker;

export const bench = {
  async open({ site, model, files, threads }) {
    const base = new URL(site, location.href).href;
    worker = connect(new Worker(new URL("workers/lm.js", base), { type: "module" }));
    await worker.call("configure", { urls: { base, kernels: `${base}kernels/`, trust: `${base}trust.json`, revocations: `${base}revocations.json` }, options: {} });
    const [program, tokenizer, generation] = await Promise.all(["program", "tokenizer", "generation"].map(async (name) => (await fetch(`${files}/${name}.json`)).json()));
    const blob = await (await fetch(model)).blob();
    const start = performance.now();
    const about = await worker.call("lm.load", { files: { model: blob }, program, tokenizer, generation, threads });
    return { load_ms: performance.now() - start, threads: about.threads, version: about.build };
  },
  memory: () => worker.call("lm.memory"),
  /** `streams` requests at once; the figures of the slowest. */
  async run({ prompt, decode, seed, streams = 1 }) {
    const one = (stream) => {
      const tokens = Array.from({ length: prompt }, (_, i) => 300 + ((i * 37 + (seed * 8 + stream) * 101 + 50) % 3000));
      return worker.call("lm.generate", { tokens, options: { maxTokens: decode + 1, temperature: 0 }, request: `r${seed}.${stream}` }, { onEvent() {} });
    };
    const start = performance.now();
    const answers = await Promise.all(Array.from({ length: streams }, (_, i) => one(i)));
    const wall_ms = performance.now() - start;
    const { prefillMs, firstMs, decodeMs } = answers[0].timings;
    return { prefill_ms: prefillMs, first_ms: firstMs, decode_ms: decodeMs, wall_ms, tokens: answers.reduce((sum, a) => sum + a.usage.completion, 0) };
  },
};
window.bench = bench;
