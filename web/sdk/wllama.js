/**
 * wllama's face: `new Wllama()`, `loadModel…`, `createCompletion`, `createChatCompletion`, so that a page written for wllama runs after changing the
 * import. Page. The paths of wllama's own WebAssembly files are not needed; llama.cpp's tuning knobs that change no answer have no effect.
 */
import { InvalidOption, NoModel } from "./errors.js";
import { ModelLoader } from "./loader.js";
import { openAI } from "./openai.js";

/** What of `LoadModelParams` has a meaning here. */
const LOADED = ["n_ctx", "n_threads", "seed", "progressCallback", "signal"];
/** How llama.cpp does it, not what it answers: EdgeNet decides these itself. */
const TUNING = ["log_level", "n_batch", "n_ubatch", "n_gpu_layers", "n_parallel", "offload_kqv", "flash_attn", "cont_batching", "kv_unified", "warmup", "useCache", "allowOffline", "parallelDownloads", "jinja"];
/** Sampling names of llama.cpp → those of the OpenAI API. @type {Record<string, string>} */
const NAMES = { temp: "temperature", penalty_repeat: "repetition_penalty", penalty_freq: "frequency_penalty", penalty_present: "presence_penalty" };
/** Without an effect on the answer here: prefixes are always cached. */
const SILENT = ["cache_prompt", "abortSignal", "onData"];

export class Wllama {
  /** @type {import("./session.js").InferenceSession | null} */ #session = null;
  #seed;
  #loader;
  #api;

  /** @param {unknown} [paths] of wllama's files; not needed @param {{loader?: ModelLoader, [more: string]: any}} [config] wllama's own (logger, caches) has no effect */
  constructor(paths, { loader } = {}) {
    this.#loader = loader ?? new ModelLoader();
    this.#api = openAI(() => this.#open());
  }

  /** @param {string | {url: string}} model a GGUF file's address @param {any} [params] */
  loadModelFromUrl(model, params) {
    return this.#load({ url: typeof model === "string" ? model : model.url }, params);
  }

  /** @param {Blob[]} blobs one GGUF file @param {any} [params] */
  async loadModel(blobs, params) {
    const all = [...blobs];
    if (all.length !== 1) throw new InvalidOption(`loadModel takes one GGUF file here, not ${all.length}. Join the parts of a split model first.`, { found: all.length });
    return this.#load({ file: all[0] }, params);
  }

  /** @param {any} options of wllama's createChatCompletion; the messages themselves in its version 2 @param {any} [older] options of version 2 @returns {Promise<any>} */
  createChatCompletion(options, older) {
    const { create } = this.#api.chat.completions;
    return Array.isArray(options) ? this.#older(create, { messages: options }, older) : this.#create(create, options);
  }

  /** @param {any} options of wllama's createCompletion; the prompt itself in its version 2 @param {any} [older] options of version 2 @returns {Promise<any>} */
  createCompletion(options, older) {
    const { create } = this.#api.completions;
    return typeof options === "string" ? this.#older(create, { prompt: options }, older) : this.#create(create, options);
  }

  /** @param {{input: string | string[]}} options @returns {Promise<any>} */
  createEmbedding(options) {
    return this.#api.embeddings.create(options);
  }

  isModelLoaded() { return this.#session !== null; }

  getNumThreads() { return /** @type {any} */ (this.#open()).info?.threads ?? 1; }

  isMultithread() { return this.getNumThreads() > 1; }

  async exit() {
    await this.#session?.dispose();
    this.#session = null;
  }

  /** @param {import("./session.js").LocalSource} source @param {any} params */
  async #load(source, params = {}) {
    const unsupported = Object.keys(params).filter((name) => params[name] !== undefined && ![...LOADED, ...TUNING].includes(name));
    if (unsupported.length) throw new InvalidOption(`EdgeNet does not support ${unsupported.join(", ")} here. Leave it out. Supported: ${LOADED.join(", ")}.`, { unsupported });
    const { n_ctx, n_threads, seed, progressCallback, signal } = params;
    await this.exit();
    const onProgress = progressCallback && (({ phase, loaded, total }) => phase === "download" && progressCallback({ loaded, total }));
    this.#session = await this.#loader.load(source, { context: n_ctx, threads: n_threads, signal, onProgress });
    this.#seed = seed;
  }

  /** @param {(request: any, options: {signal?: AbortSignal}) => Promise<any>} create @param {any} options */
  async #create(create, { abortSignal: signal, onData, ...options }) {
    const given = Object.entries(options).filter(([name]) => !SILENT.includes(name)).map(([name, value]) => [NAMES[name] ?? name, value]);
    const found = await create({ seed: this.#seed, ...Object.fromEntries(given) }, { signal });
    if (!options.stream || !onData) return found;
    for await (const chunk of found) onData(chunk);
  }

  /** Version 2: the text itself is answered, or with `stream` an iterator of `{piece, currentText}`. @param {any} create @param {any} input @param {any} [options] */
  async #older(create, input, { nPredict, sampling, onNewToken, stream, useCache, ...rest } = {}) {
    const request = { ...input, max_tokens: nPredict, ...sampling, ...rest, stream: true };
    const chunks = told(await this.#create(create, request), onNewToken);
    if (stream) return chunks;
    let text = "";
    for await (const { currentText } of chunks) text = currentText;
    return text;
  }

  #open() {
    if (!this.#session) throw new NoModel("No model is loaded. Call loadModelFromUrl or loadModel first.");
    return this.#session;
  }
}

/** Chunks as version 2 gave them: bytes of the piece, and the text so far. @param {AsyncIterable<any>} chunks @param {(token: undefined, piece: Uint8Array, text: string) => void} [onNewToken] */
async function* told(chunks, onNewToken) {
  let currentText = "";
  for await (const { choices: [{ delta, text = delta?.content }] } of chunks) {
    if (!text) continue;
    currentText += text;
    const piece = new TextEncoder().encode(text);
    onNewToken?.(undefined, piece, currentText);
    yield { piece, currentText };
  }
}
