/**
 * WebLLM's face: `CreateMLCEngine` and `MLCEngine`, so that a page written for WebLLM runs after changing the import. Page.
 * Models are EdgeNet's: an id of the site, `{file}` or `{url}`. WebLLM's compiled models cannot be read, so `appConfig` is refused.
 */
import { InvalidOption, NoModel } from "./errors.js";
import { ModelLoader } from "./loader.js";
import { openAI } from "./openai.js";

/** @typedef {{progress: number, timeElapsed: number, text: string}} InitProgressReport `progress` 0 to 1, `timeElapsed` in seconds */
/** @typedef {{initProgressCallback?: (report: InitProgressReport) => void, logLevel?: string, loader?: ModelLoader}} MLCEngineConfig `logLevel` has no effect: nothing is logged */
/** @typedef {{context_window_size?: number}} ChatOptions */

const CONFIG = ["initProgressCallback", "logLevel", "loader"];
const CHAT_OPTIONS = ["context_window_size"];

/** @param {any} given @param {string[]} known @param {string} what */
function requireKnown(given, known, what) {
  const unsupported = Object.keys(given ?? {}).filter((name) => given[name] !== undefined && !known.includes(name));
  if (unsupported.length) throw new InvalidOption(`EdgeNet does not support ${unsupported.join(", ")} of ${what}. Leave it out. Supported: ${known.join(", ")}.`, { unsupported });
}

export class MLCEngine {
  /** @type {import("./session.js").InferenceSession | null} */ #session = null;
  #interrupt = new AbortController();
  /** @type {any} */ #last = null;
  #message = "";
  #config;
  #loader;

  /** @param {MLCEngineConfig} [config] */
  constructor(config = {}) {
    requireKnown(config, CONFIG, "the engine's config");
    this.#config = config;
    this.#loader = config.loader ?? new ModelLoader();
    const { chat, completions, embeddings } = openAI(() => this.#open());
    this.chat = { completions: { create: (/** @type {any} */ request) => this.#answered(chat.completions.create, request) } };
    this.completions = { create: (/** @type {any} */ request) => this.#answered(completions.create, request) };
    this.embeddings = embeddings;
  }

  /** @param {string | import("./session.js").LocalSource} model @param {ChatOptions} [options] @returns {Promise<void>} */
  async reload(model, options) {
    requireKnown(options, CHAT_OPTIONS, "the chat options");
    await this.unload();
    const start = performance.now();
    const onProgress = (/** @type {import("./options.js").Progress} */ { phase, status, progress = 0 }) => this.#config.initProgressCallback?.({
      progress: progress / 100, timeElapsed: (performance.now() - start) / 1000, text: status === "ready" ? "Finish loading" : `Loading model: ${phase}`,
    });
    this.#session = await this.#loader.load(model, { context: options?.context_window_size, onProgress });
  }

  async unload() {
    await this.#session?.dispose();
    this.#session = null;
  }

  /** Ends what is being generated: a stream's last chunk has `finish_reason` "abort", an answer that is not streamed rejects with an AbortError. */
  interruptGenerate() {
    this.#interrupt.abort();
    this.#interrupt = new AbortController();
  }

  /** Forgets cached prefixes. A request holds its whole conversation, so nothing else is kept. */
  async resetChat() {
    await this.#open().clearKVCache();
    this.#message = "";
  }

  /** The answer that came last. */
  async getMessage() { return this.#message; }

  async runtimeStatsText() {
    const extra = this.#last?.usage?.extra;
    return extra ? `prefill: ${extra.prefill_tokens_per_s.toFixed(1)} tokens/sec, decoding: ${extra.decode_tokens_per_s.toFixed(1)} tokens/sec` : "nothing was generated yet";
  }

  /** @param {MLCEngineConfig["initProgressCallback"]} callback */
  setInitProgressCallback(callback) { this.#config = { ...this.#config, initProgressCallback: callback }; }

  getInitProgressCallback() { return this.#config.initProgressCallback; }

  #open() {
    if (!this.#session) throw new NoModel("No model is loaded. Call reload(model) first.");
    return this.#session;
  }

  /** @param {(request: any, options: {signal: AbortSignal}) => Promise<any>} create @param {any} request */
  async #answered(create, request) {
    const { signal } = this.#interrupt;
    if (request?.stream) return this.#kept(await create(request, { signal }), signal);
    const found = await create(request, { signal });
    const [{ message, text }] = found.choices;
    [this.#last, this.#message] = [found, message?.content ?? text];
    return found;
  }

  /** Chunks on their way, what they say kept for `getMessage`; an interruption ends them with `finish_reason` "abort". @param {AsyncIterable<any>} chunks @param {AbortSignal} signal */
  async *#kept(chunks, signal) {
    this.#message = "";
    /** @type {any} */ let last;
    try {
      for await (const chunk of chunks) {
        const [choice] = chunk.choices;
        if (choice?.index === 0) this.#message += choice.delta?.content ?? choice.text ?? "";
        if (chunk.usage) this.#last = chunk;
        last = choice ? chunk : last;
        yield chunk;
      }
    } catch (error) {
      if (!signal.aborted || !last) throw error;
      yield { ...last, choices: last.choices.map((/** @type {any} */ { index, delta }) => ({ index, ...(delta ? { delta: {} } : { text: "" }), finish_reason: "abort", logprobs: null })) };
    }
  }
}

/**
 * An engine with its model loaded. @param {string | import("./session.js").LocalSource} model @param {MLCEngineConfig} [config] @param {ChatOptions} [options]
 * @returns {Promise<MLCEngine>}
 */
export async function CreateMLCEngine(model, config, options) {
  const engine = new MLCEngine(config);
  await engine.reload(model, options);
  return engine;
}
