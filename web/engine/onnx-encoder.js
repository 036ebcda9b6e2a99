/** An ONNX encoder on onnxruntime-web. Engine worker. */
import { FeatureMissing, ModelInvalid, named } from "../sdk/errors.js";
import { holdUse } from "../loader/locks.js";
import { openArtifact } from "../loader/store.js";
import { planBatches } from "./batching.js";
import { ort } from "./ort.js";
import { MAX_TOKENS } from "./split.js";
import { createTokenizer } from "./tokenize.js";

const OUTPUT = "embedding";
const FILES = /** @type {const} */ (["model.onnx", "tokenizer.json", "tokenizer_config.json", "config.json"]);
// `basic` only: the graph is made of fused operators already, so a longer search should cost start-up time and find little (not measured)
const OPTIONS = { executionProviders: ["wasm"], graphOptimizationLevel: "basic" };

/** @param {any} manifest of a complete model in the store @param {import("./model.js").Setting} setting @returns {Promise<import("./embedder.js").Encoder>} @throws ModelInvalid, FeatureMissing, NotCached */
export async function onnxEncoder(manifest, { threads, urls, emit }) {
  const release = await holdUse(Object.values(manifest.artifacts).map(({ merkleRoot }) => merkleRoot));
  try {
    const runtime = await ort(urls.ort, threads, emit);
    const [model, ...described] = await Promise.all(FILES.map((name) => read(manifest, name)));
    const [tokenizerJson, tokenizerConfig, config] = described.map((bytes) => JSON.parse(new TextDecoder().decode(bytes)));
    const session = await runtime.InferenceSession.create(model, OPTIONS);
    return encoder({ runtime, session, tokenizer: createTokenizer(tokenizerJson, tokenizerConfig), config, release });
  } catch (error) {
    release();
    throw explained(error, manifest);
  }
}

/** @param {any} manifest @param {string} name */
async function read({ id, artifacts }, name) {
  const found = Object.values(artifacts).find(({ filename }) => filename === name);
  if (!found) throw new ModelInvalid(`${id} has no file ${name}. Ask its publisher.`, { id, file: name });
  const reader = await openArtifact(found.merkleRoot);
  try {
    return new Uint8Array(await reader.readAll());
  } finally {
    reader.close();
  }
}

/**
 * The session reads int32 `input_ids` and `attention_mask` [batch, tokens] and gives float32 `embedding` [batch, dims].
 * @param {{runtime: any, session: any, tokenizer: any, config: {max_position_embeddings?: number, hidden_size?: number}, release: () => void}} parts
 * @returns {import("./embedder.js").Encoder}
 */
function encoder({ runtime, session, tokenizer, config, release }) {
  return {
    tokenizer, maxTokens: Math.min(MAX_TOKENS, config.max_position_embeddings ?? MAX_TOKENS), dims: config.hidden_size ?? 384,
    plan: (lengths) => planBatches(lengths).map(({ rows }) => rows),
    async run(lists) {
      const tensor = (/** @type {{data: Int32Array, shape: number[]}} */ { data, shape }) => new runtime.Tensor("int32", data, shape);
      const [input_ids, attention_mask] = [padded(lists), padded(lists.map((ids) => ids.map(() => 1)))].map(tensor);
      return (await session.run({ input_ids, attention_mask }, [OUTPUT]))[OUTPUT].data;
    },
    memory: () => runtime.env.wasm?.memory?.buffer?.byteLength ?? 0, // of all models of this worker; 0 where onnxruntime-web does not tell
    async dispose() {
      release();
      await session.release();
    },
  };
}

/** Rows of one length, zeros behind the shorter ones. @param {number[][]} lists */
function padded(lists) {
  const length = Math.max(...lists.map((ids) => ids.length));
  const data = new Int32Array(lists.length * length);
  lists.forEach((ids, row) => data.set(ids, row * length));
  return { data, shape: [lists.length, length] };
}

/** @param {unknown} error @param {any} manifest */
function explained(error, { id, version }) {
  const was = named(error);
  if (was.code !== "internal") return was;
  if (/simd|relaxed/i.test(was.message)) return new FeatureMissing(`This browser cannot run the model: ${was.message}`, { id });
  return new ModelInvalid(`${id} ${version} was verified but cannot be run: ${was.message}`, { id });
}
