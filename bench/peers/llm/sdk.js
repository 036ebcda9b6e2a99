/** Our side as a visitor has it: the SDK, the model in the browser's storage. Measures getting ready, and plain reading of the same file. */
import { connect } from "../../../web/workers/rpc.js";

const urlsOf = (base) => ({ base, kernels: `${base}kernels/`, trust: `${base}trust.json`, revocations: `${base}revocations.json` });
const start = (url) => connect(new Worker(url, { type: "module" }));

async function timed(work) {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

window.bench = {
  async pull({ site, id }) {
    const { ModelLoader } = await import(new URL("edgenet.js", new URL(site, location.href)).href);
    const loader = new ModelLoader();
    await loader.preload(id);
    const { artifacts, version } = await loader.getManifest(id);
    loader.dispose();
    return { version, root: artifacts.model.merkleRoot, size: artifacts.model.size };
  },
  /** ms from navigation to the first token */
  async first({ site, id, tokens }) {
    const { InferenceSession } = await import(new URL("edgenet.js", new URL(site, location.href)).href);
    const session = await InferenceSession.create(id);
    await session.complete({ tokens }, { maxTokens: 1, temperature: 0 });
    return performance.now();
  },
  /** ms from a configured worker to a model that is ready */
  async load({ site, id, version, threads }) {
    const base = new URL(site, location.href).href;
    const worker = start(`${base}workers/lm.js`);
    await worker.call("configure", { urls: urlsOf(base), options: {} });
    const ms = await timed(() => worker.call("lm.load", { id, version, threads }));
    await worker.call("lm.dispose");
    worker.close();
    return ms;
  },
  async plain({ root, size }) {
    const worker = start("plain-reader.js");
    const ms = await timed(() => worker.call("read", { root, size }));
    worker.close();
    return ms;
  },
};
