/** Runs the instructions of a training step one by one on the built site's engine, one thread, and tells how long each took. Worker. */
import { LanguageEngine } from "../../../web/engine/lm/engine.js";
import { CONTROL } from "../../../web/engine/lm/memory.js";
import { SLOTS } from "../../../web/engine/lm/program.js";
import { serve } from "../../../web/workers/rpc.js";

const END = 0xffffffff;
let engine, rows;

serve(self, {
  /** `programs`: a JSON file with the table of training Programs. */
  async open({ site, model, files, programs, rows: count, vocabulary }) {
    const get = (path) => fetch(path).then((answer) => (answer.ok ? answer : Promise.reject(new Error(`${path}: ${answer.status}`))));
    const json = (path) => get(path).then((answer) => answer.json());
    const module = await WebAssembly.compile(await (await get(`${site}kernels/engine.relaxed.wasm`)).arrayBuffer());
    const build = { name: "relaxed", module, shared: false };
    const sources = { model: { blob: await (await get(model)).blob() } };
    engine = await LanguageEngine.open({ program: await json(`${files}/program.json`), sources, build });
    await engine.add(await json(`${files}/${programs}.json`));
    rows = count;
    const tokens = Int32Array.from({ length: rows + 1 }, (_, i) => (i * 7919) % vocabulary);
    engine.view("tokens", "train").set(tokens.slice(0, rows));
    engine.view("targets", "train").set(tokens.slice(1));
    engine.view("positions", "train").set(Int32Array.from({ length: rows }, (_, i) => i));
    engine.view("weights", "train").fill(1 / rows);
  },
  /** Milliseconds of each instruction of `train`, in order. */
  run() {
    const { code } = engine.programs.of("train");
    const [records, probe] = [code, engine.plan.probe].map((at) => new Uint32Array(engine.wasm.buffer, at));
    const times = [];
    SLOTS.forEach((slot, i) => { engine.words[CONTROL.slots + i] = { n: rows, m: 0, s: 1 }[slot]; });
    for (let at = 1, next; records[at] !== END; at = next) {
      next = at + 3 + (records[at] >>> 16);
      probe.set([records[0], ...records.subarray(at, next), END]);
      const start = performance.now();
      const answer = engine.exports.run(engine.plan.probe, 0, 1);
      times.push(performance.now() - start);
      if (answer) throw new Error(`Instruction ${times.length} answered ${answer}.`);
    }
    return times;
  },
});
