/** Our own engine on MiniLM's GGUF, driven through its worker protocol; texts of one call are packed, not padded. */
import { connect } from "../../../web/workers/rpc.js";
import { offer } from "./measure.js";

let worker;

offer({
  async open({ site, files, threads }) {
    const at = (name) => new URL(name, site).href;
    worker = connect(new Worker(at("workers/lm.js"), { type: "module" }));
    const urls = { base: site, kernels: at("kernels/"), trust: at("trust.json"), revocations: at("revocations.json") };
    await worker.call("configure", { urls, options: {} });
    const read = async (name) => fetch(new URL(name, files));
    const [program, tokenizer, generation] = await Promise.all(["program.json", "tokenizer.json", "generation.json"].map(async (name) => (await read(name)).json()));
    await worker.call("lm.load", { files: { model: await (await read("model.gguf")).blob() }, program, tokenizer, generation, threads });
  },
  embed: async (texts) => (await worker.call("lm.embed", { texts })).vectors,
});
