/**
 * The files of an ONNX decoder, laid out as Hugging Face publishes them: `config.json`, `generation_config.json`, `tokenizer.json`,
 * `tokenizer_config.json`, `onnx/model….onnx`. Worker. Which weights are taken is decided here; nothing is run.
 */
import { holdUse } from "../../loader/locks.js";
import { modelKey, openArtifact, readKey } from "../../loader/store.js";
import { InvalidOption, ModelInvalid, NotCached } from "../../sdk/errors.js";

/** dtype → end of the file's name, as transformers.js has them. */
const SUFFIX = { fp32: "", fp16: "_fp16", q8: "_quantized", int8: "_int8", uint8: "_uint8", q4: "_q4", q4f16: "_q4f16", bnb4: "_bnb4" };
/** Taken when none is asked for: the first that is there. What is small also is fast on WebAssembly; half precision is not. */
const PREFERRED = /** @type {const} */ (["q4", "q8", "int8", "uint8", "fp32", "q4f16", "fp16", "bnb4"]);
const NAMES = ["model", "decoder_model_merged"];

/**
 * @typedef {object} Folder
 * @property {string[]} paths @property {(path: string) => Promise<Uint8Array>} bytes @property {() => void} release lets go of what is in the store
 */

/** @param {{id?: string, version?: string, files?: Record<string, Blob>}} which @returns {Promise<Folder>} @throws NotCached */
export async function openFolder({ id, version, files }) {
  if (files) return { paths: Object.keys(files), bytes: async (path) => new Uint8Array(await files[path].arrayBuffer()), release() {} };
  const record = await readKey(modelKey(/** @type {string} */ (id), /** @type {string} */ (version)));
  if (!record) throw new NotCached(`${id} ${version} is not in this browser's storage. Pull the model first.`, { id, version });
  /** @type {Map<string, string>} */
  const roots = new Map(Object.values(record.manifest.artifacts).map((/** @type {any} */ { filename, merkleRoot }) => [filename, merkleRoot]));
  const release = await holdUse([...roots.values()]);
  return { paths: [...roots.keys()], bytes: async (path) => new Uint8Array(await (await openArtifact(/** @type {string} */ (roots.get(path)))).readAll()), release };
}

/** Which of the folder's weights. @param {string[]} paths @param {string} [dtype] @returns {{path: string, dtype: string}} @throws InvalidOption, ModelInvalid */
export function pickWeights(paths, dtype) {
  if (dtype !== undefined && !Object.hasOwn(SUFFIX, dtype)) throw new InvalidOption(`There is no dtype ${JSON.stringify(dtype)}. Known: ${Object.keys(SUFFIX).join(", ")}.`, { option: "dtype" });
  const there = PREFERRED.flatMap((kind) => NAMES.map((name) => ({ path: `onnx/${name}${SUFFIX[kind]}.onnx`, dtype: kind }))).filter(({ path }) => paths.includes(path));
  const found = there.find((one) => dtype === undefined || one.dtype === dtype);
  if (found) return found;
  if (!there.length) throw new ModelInvalid("The folder holds no weights of a decoder, such as onnx/model_q4.onnx. Give its onnx/ folder too.", { found: paths });
  throw new InvalidOption(`The model has no weights of dtype ${dtype}. It has ${there.map((one) => one.dtype).join(", ")}.`, { option: "dtype" });
}

/** @param {Folder} folder @param {string} path @returns {Promise<any>} null where the file is not there */
async function json({ paths, bytes }, path) {
  if (!paths.includes(path)) return null;
  try {
    return JSON.parse(new TextDecoder().decode(await bytes(path)));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new ModelInvalid(`${path} is no JSON (${error.message}). Get the file again.`, { file: path });
  }
}

/** What is said beside the weights. @param {Folder} folder @throws ModelInvalid */
export async function readDescription(folder) {
  const [config, tokenizer, settings, own] = await Promise.all(["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"].map((path) => json(folder, path)));
  for (const [path, value] of [["config.json", config], ["tokenizer.json", tokenizer]]) if (!value) throw new ModelInvalid(`The folder has no ${path}. Give all of its files.`, { file: path });
  const apart = folder.paths.includes("chat_template.jinja") ? new TextDecoder().decode(await folder.bytes("chat_template.jinja")) : null;
  return { config, tokenizer, generation: generationOf(config, tokenizer, settings ?? {}, own ?? {}, apart) };
}

/** `generation.json` (docs/engine.md) out of Hugging Face's files. @param {any} config @param {any} tokenizer @param {any} settings @param {any} own @param {string | null} apart */
function generationOf(config, tokenizer, settings, own, apart) {
  const special = Object.fromEntries((tokenizer.added_tokens ?? []).filter((/** @type {any} */ token) => token.special).map((/** @type {any} */ { content, id }) => [content, id]));
  const eos = [...new Set([own.eos_token_id ?? config.eos_token_id ?? []].flat())];
  const bos = own.bos_token_id ?? config.bos_token_id ?? null;
  return {
    architecture: config.model_type ?? "onnx", context: config.max_position_embeddings ?? 2048, bos, addBos: settings.add_bos_token === true, eos, special,
    chatTemplate: apart ?? templateOf(settings.chat_template), stop: [], name: config._name_or_path || null, parameters: null, quantization: null,
  };
}

/** One template, or several by name. @param {any} found @returns {string | null} */
const templateOf = (found) => (Array.isArray(found) ? found.find(({ name }) => name === "default")?.template ?? null : found ?? null);
