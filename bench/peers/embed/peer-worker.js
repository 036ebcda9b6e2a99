/** transformers.js's feature extraction in a worker, its own defaults (its cache among them) but for where files are and the number of threads. */
import { env, pipeline } from "@huggingface/transformers";

let extract;

const handlers = {
  async load({ models, ort, dtype, threads }) {
    Object.assign(env, { allowLocalModels: false, remoteHost: models, remotePathTemplate: "{model}/" });
    Object.assign(env.backends.onnx.wasm, { wasmPaths: ort, numThreads: threads, proxy: false });
    extract = await pipeline("feature-extraction", "minilm", { dtype, device: "wasm" });
    return env.version;
  },
  async embed({ texts }) {
    const { data } = await extract(texts, { pooling: "mean", normalize: true });
    return new Float32Array(data);
  },
};

self.onmessage = async ({ data: { kind, args } }) => {
  try {
    self.postMessage({ result: await handlers[kind](args) });
  } catch (error) {
    self.postMessage({ error: String(error?.stack ?? error) });
  }
};
