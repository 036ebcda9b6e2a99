/**
 * Sessions of models that a language worker runs: generating, chatting, tokens; vectors where the model is an encoder. Page.
 */
import { InvalidOption, NotFound } from "./errors.js";
import { SessionAdapters } from "./adapters.js";
import { cosine, filled } from "./embedding-session.js";
import { readGenerateOptions, readMessages } from "./generate-options.js";
import { progressTo } from "./progress.js";
import { InferenceSession, strings } from "./session.js";
import { streamOf } from "./stream.js";
import { LoraTrainer, knownOptions } from "./trainer.js";

/** @typedef {import("./session.js").CallOptions} CallOptions @typedef {import("./generate-options.js").GenerateOptions} GenerateOptions */
/** @typedef {import("./generate-options.js").Message} Message @typedef {import("./stream.js").PieceStream<Completion>} CompletionStream */

/**
 * @typedef {{prompt: string} | {messages: Message[]} | {tokens: number[]}} Input a text to go on with, a chat, or token ids as they are
 *
 * @typedef {object} Completion
 * @property {string} text without the prompt
 * @property {number[]} tokens
 * @property {"stop" | "length" | "context" | "abort"} reason the model or a stop sequence ended it; `maxTokens`; the context was full; a cancel
 * @property {{prompt: number, completion: number, cached: number}} usage tokens; `cached`: of the prompt, found in the KV cache
 * @property {{prefillMs: number, firstMs: number, decodeMs: number}} timings `firstMs`: from the call to the first token
 * @property {number} seed what to give again for the same text
 * @property {import("./adapters.js").Routed | null} [routed] of `adapters: "auto"`: which adapter answered; null: none is like the request
 *
 * @typedef {object} LanguageInfo of the loaded model and of how it runs
 * @property {string} architecture @property {number} parameters @property {number} context @property {number} vocabulary @property {boolean} chat it has a template
 * @property {number} threads @property {string} build @property {boolean} isolated @property {any} why why not faster
 */

const TEXT = ["generate", "generateStream", "chat", "chatStream", "complete", "stream"];
const TOKENS = ["encode", "decode", "countTokens"];
/** Tokens at the end of a prompt by which its adapter is chosen. */
const QUESTION = 512;
/** model type → operations. */
const OPERATIONS = new Map([["text-generation", [...TEXT, ...TOKENS, "clearKVCache", "adapters", "createTrainer", "trainers", "resumeTrainer"]], ["embedding", ["embed", "embedBatch", "similarity", ...TOKENS]]]);

export class LanguageSession extends InferenceSession {
  #adapters = new SessionAdapters(this);

  /** @param {import("./loader.js").ModelLoader} loader @param {any} opened */
  constructor(loader, opened) {
    super(loader, opened);
    /** @type {LanguageInfo} */ this.info = opened.info;
  }

  get operations() { return OPERATIONS.get(this.type) ?? []; }

  get adapters() {
    this.#can("adapters");
    return this.#adapters;
  }

  /** Starts nothing yet. @param {import("./trainer.js").TrainerOptions} [options] @returns {LoraTrainer} @throws InvalidOption */
  createTrainer(options = {}) {
    this.#can("createTrainer");
    knownOptions(options);
    return new LoraTrainer(this, options);
  }

  /** Trainings of this model that were neither kept nor discarded, the latest first. @returns {Promise<import("./trainer.js").UnfinishedTraining[]>} */
  async trainers() {
    this.#can("trainers");
    return this.#ask("train.runs");
  }

  /** A training that was stopped, or whose tab was: `train()` goes on from its last checkpoint. @param {string} id @returns {Promise<LoraTrainer>} @throws NotFound */
  async resumeTrainer(id) {
    this.#can("resumeTrainer");
    const found = (await this.trainers()).find((run) => run.id === id);
    if (!found) throw new NotFound(`No training "${String(id).slice(0, 100)}" of this model is kept here. Look at trainers().`, { id });
    return new LoraTrainer(this, found);
  }

  /** Goes on with `prompt`; answers what was added. @param {string} prompt @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {Promise<string>} */
  async generate(prompt, options, call) {
    return (await this.#complete("generate", { prompt }, options, call)).text;
  }

  /** The same piece by piece; no piece splits a code point. Leaving the loop ends the generation. @param {string} prompt @param {GenerateOptions} [options] @param {CallOptions} [call] */
  generateStream(prompt, options, call) {
    return this.#stream("generateStream", { prompt }, options, call);
  }

  /** The answer to a chat, by the model's own template. @param {Message[]} messages @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {Promise<string>} */
  async chat(messages, options, call) {
    return (await this.#complete("chat", { messages }, options, call)).text;
  }

  /** @param {Message[]} messages @param {GenerateOptions} [options] @param {CallOptions} [call] */
  chatStream(messages, options, call) {
    return this.#stream("chatStream", { messages }, options, call);
  }

  /** As `generate` and `chat`, with everything there is to know about the answer. @param {Input} input @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {Promise<Completion>} */
  async complete(input, options, call) {
    return this.#complete("complete", input, options, call);
  }

  /** As `generateStream` and `chatStream`; `stream.result` is the `Completion`. @param {Input} input @param {GenerateOptions} [options] @param {CallOptions} [call] */
  stream(input, options, call) {
    return this.#stream("stream", input, options, call);
  }

  /** One vector of length 1. @param {string} text @param {CallOptions} [options] @returns {Promise<Float32Array>} d */
  async embed(text, options) {
    return (await this.embedBatch([text], options))[0];
  }

  /** @param {string[]} texts @param {CallOptions} [options] @returns {Promise<Float32Array[]>} n of d, in order; all are views of one buffer */
  async embedBatch(texts, { signal, onProgress } = {}) {
    this.#can("embedBatch");
    const onEvent = onProgress && progressTo(this.id, [onProgress]);
    const { vectors } = await this.#ask("embed", { texts: filled(strings(texts)) }, { signal, onEvent });
    const d = vectors.length / texts.length;
    return texts.map((_, i) => vectors.subarray(i * d, (i + 1) * d));
  }

  /** Cosine of two texts, −1 to 1. @param {string} a @param {string} b @param {CallOptions} [options] */
  async similarity(a, b, options) {
    return cosine(await this.embedBatch([a, b], options));
  }

  /**
   * Token ids of a text. With `special`, names of special tokens in the text become those tokens: never for text of somebody else's.
   * @param {string} text @param {{special?: boolean}} [options] @returns {Promise<number[]>}
   */
  async encode(text, { special = false } = {}) {
    return Array.from((await this.#ask("encode", { text: strings([text])[0], special })).tokens);
  }

  /** @param {ArrayLike<number>} tokens @returns {Promise<string>} */
  async decode(tokens) {
    return (await this.#ask("decode", { tokens: ids(tokens) })).text;
  }

  /** @template {string | string[]} T @param {T} texts @returns {Promise<T extends string ? number : number[]>} */
  async countTokens(texts) {
    const counts = await Promise.all(strings([texts].flat()).map(async (text) => (await this.encode(text)).length));
    return /** @type {any} */ (Array.isArray(texts) ? counts : counts[0]);
  }

  /** Forgets every cached prefix. Generations that run keep theirs. */
  async clearKVCache() {
    this.#can("clearKVCache");
    await this.#ask("clear");
    await this.#measure();
  }

  async restore() {
    await this.#measure();
  }

  /** What `getMemoryInfo` tells from now on. */
  async #measure() {
    this.remember({ indexBytes: 0, ...(await this.#ask("memory")) });
  }

  /** @param {string} operation @param {Input} input @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {Promise<Completion>} */
  async #complete(operation, input, options, call) {
    this.#can(operation);
    return this.#generate(readInput(input), readGenerateOptions(options, this.#adapters.used), () => {}, call);
  }

  /** @param {string} operation @param {Input} input @param {GenerateOptions} [options] @param {CallOptions} [call] @returns {CompletionStream} */
  #stream(operation, input, options, call = {}) {
    this.#can(operation);
    const [what, how] = [readInput(input), readGenerateOptions(options, this.#adapters.used)];
    return streamOf((onPiece, signal) => this.#generate(what, how, onPiece, { ...call, signal }), call.signal);
  }

  /** @param {Input} input @param {ReturnType<typeof readGenerateOptions>} read @param {(text: string) => void} onPiece @param {CallOptions} [call] @returns {Promise<Completion>} */
  async #generate(input, { options, choice }, onPiece, { signal, onProgress } = {}) {
    const progress = onProgress && progressTo(this.id, [onProgress]);
    const onEvent = (/** @type {any} */ event) => {
      if (event?.status === "piece") onPiece(event.text);
      else if (event?.status === "prefill") progress?.({ ...event, status: "progress", phase: "prefill" });
    };
    const { adapters, ...routed } = await this.#adapters.chosen(choice, () => this.#asked(input), signal);
    const completion = await this.#ask("generate", { ...input, options: { ...options, adapters } }, { signal, onEvent });
    await this.#measure().catch(() => {}); // the text is here: a worker that ends now is the next call's to tell
    return { ...completion, ...routed };
  }

  /** What is asked, as text; of tokens the last ones. @param {any} input @returns {Promise<string | Message[]>} */
  async #asked({ prompt, messages, tokens }) {
    return prompt ?? messages ?? this.decode(tokens.slice(-QUESTION));
  }

  /** @param {string} operation */
  #can(operation) {
    if (!this.operations.includes(operation)) this.refuse(operation);
  }

  /** @param {string} kind @param {any} [args] @param {import("../workers/rpc.js").CallOptions} [options] */
  #ask(kind, args, options) {
    return this.askWorker(`lm.${kind}`, args, options);
  }
}

/** @param {any} input @returns {Input} exactly one of prompt, messages, tokens */
function readInput(input) {
  const given = ["prompt", "messages", "tokens"].filter((name) => input?.[name] !== undefined);
  if (given.length !== 1) throw new InvalidOption(`Give exactly one of prompt, messages and tokens, not ${given.join(" and ") || "none"}.`, { given });
  if (given[0] === "messages") return { messages: readMessages(input.messages) };
  return given[0] === "prompt" ? { prompt: strings([input.prompt])[0] } : { tokens: ids(input.tokens) };
}

/** @param {ArrayLike<number>} tokens @returns {number[]} */
function ids(tokens) {
  const found = Array.from(tokens ?? []);
  const bad = found.findIndex((id) => !(Number.isInteger(id) && id >= 0));
  if (bad >= 0 || !found.length) throw new InvalidOption(found.length ? `A token id is a whole number from 0; item ${bad} is ${found[bad]}.` : "A list of token ids needs at least one.", { item: bad });
  return found;
}
