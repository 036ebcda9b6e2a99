/**
 * From the store to a model that runs: chooses what runs it by the manifest's artifacts, reads the verified files, warms up. Engine worker.
 * It fetches no model byte: what is not complete in the store is an error.
 */
import { NotCached, NotSupported } from "../sdk/errors.js";
import { modelKey, readKey } from "../loader/store.js";
import { requireCompiling } from "./compiling.js";
import { Embedder } from "./embedder.js";
import { onnxEncoder } from "./onnx-encoder.js";
import { programEncoder } from "./program-encoder.js";

/**
 * @typedef {object} Model
 * @property {any} manifest @property {Embedder} embedder @property {number} modelBytes @property {number} dimensions @property {number} maxTokens
 * @property {() => string | undefined} build of the engine; none on onnxruntime-web
 * @property {() => Promise<void>} dispose
 *
 * @typedef {object} Setting
 * @property {number} threads @property {string[]} [without] engine builds not to be tried @property {any} urls @property {(event: any) => void} emit
 * @property {() => void} lost the last engine build broke while it ran
 */

/**
 * @param {{id: string, version: string}} which @param {Setting} setting
 * @returns {Promise<Model>}
 * @throws NotCached, ModelInvalid, NotSupported
 */
export async function openModel({ id, version }, setting) {
  const record = await readKey(modelKey(id, version));
  if (!record) throw new NotCached(`${id} ${version} is not in this browser's storage. Pull the model first.`, { id, version });
  const { manifest } = record;
  if (manifest.type !== "embedding") throw new NotSupported(`${id} is a model of type "${manifest.type}"; this worker runs "embedding".`, { type: manifest.type });
  requireCompiling();
  const total = Object.values(manifest.artifacts).reduce((sum, { size }) => sum + size, 0);
  const said = (/** @type {string} */ phase) => setting.emit({ status: "progress", phase, name: id, loaded: total, total, progress: 100 });
  said("compile");
  const encoder = await (manifest.artifacts.program ? programEncoder : onnxEncoder)(manifest, setting);
  const embedder = new Embedder(encoder);
  try {
    said("warmup");
    await embedder.embed(["warm up"], {});
  } catch (error) {
    await embedder.dispose();
    throw error;
  }
  return {
    manifest, embedder, dimensions: embedder.dims, modelBytes: manifest.artifacts.model.size, maxTokens: embedder.maxTokens,
    build: () => encoder.build, dispose: () => embedder.dispose(),
  };
}
