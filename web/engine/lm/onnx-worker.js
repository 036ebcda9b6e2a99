/**
 * The worker of one ONNX decoder: the kinds of `worker.js`, answered by onnxruntime-web. Module worker; it holds one model and fetches no model byte.
 */
import { InvalidOption, NoModel, NotSupported } from "../../sdk/errors.js";
import { TextTokenizer } from "../../text/tokenizer.js";
import { serve } from "../../workers/rpc.js";
import { requireCompiling } from "../compiling.js";
import { ort } from "../ort.js";
import { engineBuilds } from "./builds.js";
import { generate } from "./generate.js";
import { openFolder, pickWeights, readDescription } from "./onnx-folder.js";
import { OnnxDecoder } from "./onnx.js";
import { Sampler } from "./sampler.js";

/** @type {any} */ let config = null;
/** @type {{decoder: OnnxDecoder, tokenizer: TextTokenizer, generation: any, about: any, release: () => void} | null} */ let loaded = null;

function current() {
  if (!loaded) throw new NoModel("No model is loaded in this worker. Call lm.load first.", {});
  return loaded;
}

/** @param {any} which of `lm.load` @param {(event: any) => void} emit */
async function open({ dtype, threads = 1, ...which }, emit) {
  requireCompiling();
  const folder = await openFolder(which);
  try {
    const { path, dtype: kind } = pickWeights(folder.paths, dtype);
    const { config: { vocab_size }, tokenizer: tokenizerJson, generation } = await readDescription(folder);
    emit({ status: "progress", phase: "read", file: path });
    const [bytes, external] = await Promise.all([folder.bytes(path), externalData(folder, path)]);
    emit({ status: "progress", phase: "compile", file: path });
    const decoder = await OnnxDecoder.open({ ort: await ort(config.urls.ort, threads, emit), bytes, external, context: generation.context });
    decoder.sampler = await openSampler(decoder.vocabulary);
    const modelBytes = external.reduce((sum, { data }) => sum + data.length, bytes.length);
    const about = { dtype: kind, threads, vocabulary: vocab_size ?? decoder.vocabulary, modelBytes, build: `onnxruntime-web ${kind}` };
    loaded = { decoder, tokenizer: new TextTokenizer(tokenizerJson), generation: { ...generation, quantization: kind }, about, release: folder.release };
  } catch (error) {
    folder.release();
    throw error;
  }
}

/** Weights kept beside the graph: `model_q4.onnx_data`, `model_q4.onnx_data_1`, … @param {import("./onnx-folder.js").Folder} folder @param {string} path */
function externalData({ paths, bytes }, path) {
  const beside = paths.filter((name) => name.startsWith(`${path}_data`));
  return Promise.all(beside.map(async (name) => ({ path: name.split("/").at(-1) ?? name, data: await bytes(name) })));
}

/** The plain build of the engine's module: it draws tokens, no more. @param {number} vocabulary */
async function openSampler(vocabulary) {
  const [offer] = await engineBuilds(config.urls, { isolated: false });
  return Sampler.open(await offer.open(), vocabulary);
}

function memory() {
  const { decoder, about: { modelBytes } } = current();
  return { modelBytes, kvCacheBytes: decoder.cacheBytes, arenaBytes: 0, wasmBytes: decoder.ort.env.wasm?.memory?.buffer?.byteLength ?? 0, pages: { total: decoder.context, used: decoder.cached, shared: 0 } };
}

function describe() {
  const { decoder, generation, about: { threads, vocabulary, build, dtype } } = current();
  const why = [{ code: "onnx_runtime", reason: "An ONNX decoder runs on onnxruntime-web, one answer at a time. A GGUF file of the same model runs on EdgeNet's own engine." }];
  return {
    name: generation.name, architecture: generation.architecture, parameters: generation.parameters, context: decoder.context, vocabulary, dimensions: 0,
    threads, build, dtype, isolated: globalThis.crossOriginIsolated === true, why, memory: memory(), chat: Boolean(generation.chatTemplate),
  };
}

serve(/** @type {any} */ (self), {
  configure(given) { config = given; },
  async "lm.load"(args, { emit }) {
    if (!config) throw new NoModel("The worker was not configured.", {});
    if (loaded) throw new InvalidOption("This worker holds a model already: one worker, one model. Dispose it, or start another worker.", { option: "id" });
    await open(args, emit);
    return describe();
  },
  async "lm.generate"(args, context) {
    const { decoder, tokenizer, generation } = current();
    return generate({ tokenizer, generation, key: "", scheduler: decoder }, args, context);
  },
  "lm.embed"() { throw new NotSupported("This model generates text; load an encoder to embed.", {}); },
  "lm.encode": ({ text, special = false }) => ({ tokens: current().tokenizer.encode(text, { special }) }),
  "lm.decode": ({ tokens }) => ({ text: current().tokenizer.decode(tokens) }),
  "lm.memory": memory,
  "lm.clear": () => current().decoder.clear(),
  "lm.status": describe,
  async "lm.dispose"() {
    const { decoder, release } = current();
    loaded = null;
    release();
    await decoder.dispose();
  },
});
