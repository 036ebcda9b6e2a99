/** Our side: training Programs beside a model in the built site's language worker, driven as the trainer in Python drives it. */
import { connect } from "../../../web/workers/rpc.js";

let worker;
const HYPER = Float32Array.of(1e-4, 0.9, 0.999, 1e-8, 0.01, 0, 0.1, 0.001, 1, 0, 0, 0, 0, 0, 0, 0); // as of the first step

export const bench = {
  /** `programs`: names of JSON files in `files`, each a table of Programs. */
  async open({ site, model, files, threads, programs, rows, vocabulary }) {
    const base = new URL(site, location.href).href;
    const json = async (name) => (await fetch(`${files}/${name}.json`)).json();
    worker = connect(new Worker(new URL("workers/lm.js", base), { type: "module" }));
    await worker.call("configure", { urls: { base, kernels: `${base}kernels/`, trust: `${base}trust.json`, revocations: `${base}revocations.json` }, options: {} });
    const [program, tokenizer, generation] = await Promise.all(["program", "tokenizer", "generation"].map(json));
    const about = await worker.call("lm.load", { files: { model: await (await fetch(model)).blob() }, program, tokenizer, generation, threads });
    Object.assign(bench, { rows, vocabulary });
    const peaks = {};
    for (const name of programs) {
      const table = await json(name);
      await worker.call("lm.add", { programs: Object.fromEntries(Object.entries(table).map(([part, made]) => [`${name}.${part}`, made])) });
      peaks[name] = table.train.regions.arena;
    }
    return { threads: about.threads, version: about.build, arenas: peaks };
  },
  memory: () => worker.call("lm.memory"),
  /** One optimiser step on random tokens. */
  async step({ programs, seed }) {
    const { rows, vocabulary } = bench;
    const write = (program, name, array) => worker.call("lm.write", { program: `${programs}.${program}`, name, array });
    const tokens = Int32Array.from({ length: rows + 1 }, (_, i) => (i * 7919 + seed * 104729) % vocabulary);
    const start = performance.now();
    await write("train", "tokens", tokens.slice(0, rows));
    await write("train", "targets", tokens.slice(1));
    await write("train", "sequences", new Int32Array(rows));
    await write("train", "positions", Int32Array.from({ length: rows }, (_, i) => i));
    await write("train", "weights", new Float32Array(rows).fill(1 / rows));
    await worker.call("lm.run", { program: `${programs}.train`, slots: { n: rows, s: 1 } });
    await write("update", "hyper", HYPER);
    await worker.call("lm.run", { program: `${programs}.update` });
    const losses = await worker.call("lm.read", { program: `${programs}.train`, name: "losses" });
    return { s: (performance.now() - start) / 1e3, loss: losses.reduce((sum, x) => sum + x, 0) };
  },
};
window.bench = bench;
