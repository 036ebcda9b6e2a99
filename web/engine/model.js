/**
 * From the store to a model that runs: reads the verified files, starts onnxruntime-web, compiles, warms up. Engine worker.
 * It fetches no model byte: what is not complete in the store is an error.
 */
import { FeatureMissing, ModelInvalid, NotCached, NotSupported, named } from "../sdk/errors.js";
import { holdUse } from "../loader/locks.js";
import { modelKey, openArtifact, readKey } from "../loader/store.js";
import { requireCompiling } from "./compiling.js";
import { createEmbedder } from "./embedder.js";
import { ort } from "./ort.js";

/**
 * @typedef {object} Model
 * @property {any} manifest @property {any} embedder see `createEmbedder` @property {number} modelBytes @property {number} dimensions @property {number} maxTokens
 * @property {() => Promise<void>} dispose
 */

/**
 * @param {{id: string, version: string, threads: number}} which @param {{ort: string}} urls @param {(event: any) => void} emit
 * @returns {Promise<Model>}
 * @throws NotCached, ModelInvalid, NotSupported
 */
export async function openModel({ id, version, threads }, urls, emit) {
  const record = await readKey(modelKey(id, version));
  if (!record) throw new NotCached(`${id} ${version} is not in this browser's storage. Pull the model first.`, { id, version });
  const { manifest } = record;
  if (manifest.type !== "embedding") throw new NotSupported(`${id} is a model of type "${manifest.type}"; this version runs "embedding".`, { type: manifest.type });
  requireCompiling();
  const total = Object.values(manifest.artifacts).reduce((sum, { size }) => sum + size, 0);
  const said = (/** @type {string} */ phase) => emit({ status: "progress", phase, name: id, loaded: total, total, progress: 100 });
  const release = await holdUse(Object.values(manifest.artifacts).map(({ merkleRoot }) => merkleRoot));
  try {
    said("compile");
    const embedder = await compile(manifest, await ort(urls.ort, threads, emit));
    said("warmup");
    const { vectors } = await embedder.embed(["warm up"], {});
    return {
      manifest, embedder, dimensions: vectors.length, modelBytes: manifest.artifacts.model.size, maxTokens: embedder.maxTokens,
      async dispose() { release(); await embedder.dispose(); },
    };
  } catch (error) {
    release();
    throw error;
  }
}

/** @param {any} manifest @param {any} ort */
async function compile(manifest, ort) {
  const files = new Map(Object.values(manifest.artifacts).map((artifact) => [artifact.filename, artifact.merkleRoot]));
  const bytes = async (/** @type {string} */ name) => {
    const root = files.get(name);
    if (!root) throw new ModelInvalid(`${manifest.id} has no file ${name}. Ask its publisher.`, { id: manifest.id, file: name });
    const reader = await openArtifact(root);
    try {
      return new Uint8Array(await reader.readAll());
    } finally {
      reader.close();
    }
  };
  const json = async (/** @type {string} */ name) => JSON.parse(new TextDecoder().decode(await bytes(name)));
  const [modelBytes, tokenizerJson, tokenizerConfig, config] = await Promise.all([bytes("model.onnx"), json("tokenizer.json"), json("tokenizer_config.json"), json("config.json")]);
  try {
    return await createEmbedder({ modelBytes, tokenizerJson, tokenizerConfig, config, ort });
  } catch (error) {
    const was = named(error);
    if (was.code !== "internal") throw was;
    if (/simd|relaxed/i.test(was.message)) throw new FeatureMissing(`This browser cannot run the model: ${was.message}`, { id: manifest.id });
    throw new ModelInvalid(`${manifest.id} ${manifest.version} was verified but cannot be run: ${was.message}`, { id: manifest.id });
  }
}
