/**
 * An ONNX decoder on onnxruntime-web behind the scheduler's face: one answer at a time, tokens drawn by the engine's own sampling. Worker. The keys and
 * values of the last answer are kept, so a prompt that begins alike is not computed twice.
 */
import { FeatureMissing, ModelInvalid, OutputNotFinite, named } from "../../sdk/errors.js";
import { Turns } from "../turns.js";
import { checkPrompt, shifted } from "./prompt.js";

/** Rows of a prompt computed at once: a cancel is heard between. */
const CHUNK = 32;
const PAST = /^past_key_values\.(\d+)\.(key|value)$/;

/** Typed array → the tensor types that are made here. @type {Record<string, (values: number[]) => any>} */
const INTEGERS = { int64: (values) => BigInt64Array.from(values, BigInt), int32: (values) => Int32Array.from(values) };
const EMPTY = { float32: () => new Float32Array(0), float16: () => new (globalThis["Float16Array"] ?? Uint16Array)(0) };

/** Input → its values, for `n` new tokens after `past`. @type {Record<string, (step: {tokens: number[], past: number}) => {values: number[], dims: number[]}>} */
const INPUTS = {
  input_ids: ({ tokens }) => ({ values: tokens, dims: [1, tokens.length] }),
  attention_mask: ({ tokens, past }) => ({ values: Array(past + tokens.length).fill(1), dims: [1, past + tokens.length] }),
  position_ids: ({ tokens, past }) => ({ values: tokens.map((_, i) => past + i), dims: [1, tokens.length] }),
  num_logits_to_keep: () => ({ values: [1], dims: [] }),
};

export class OnnxDecoder {
  /** Tokens whose keys and values are in `#past`. @type {number[]} */ #known = [];
  /** @type {Record<string, any>} */ #past;
  #turns = new Turns();

  /**
   * @param {{ort: any, bytes: Uint8Array, external?: {path: string, data: Uint8Array}[], context: number}} model @returns {Promise<OnnxDecoder>}
   * @throws ModelInvalid, FeatureMissing
   */
  static async open({ ort, bytes, external = [], context }) {
    const options = { executionProviders: ["wasm"], externalData: external };
    const session = await ort.InferenceSession.create(bytes, options).catch((/** @type {unknown} */ error) => {
      const { message } = named(error);
      if (/simd|relaxed/i.test(message)) throw new FeatureMissing(`This browser cannot run the model: ${message}`, {});
      throw new ModelInvalid(`onnxruntime cannot run this model: ${message}`, {});
    });
    const decoder = new OnnxDecoder(ort, session, context);
    await decoder.#prove();
    return decoder;
  }

  /** @param {any} ort @param {any} session @param {number} context */
  constructor(ort, session, context) {
    this.ort = ort;
    this.session = session;
    this.context = context;
    /** @type {{name: string, type: string, shape: any[]}[]} */ this.inputs = session.inputMetadata;
    const unknown = this.inputs.filter(({ name }) => !PAST.test(name) && !Object.hasOwn(INPUTS, name)).map(({ name }) => name);
    if (unknown.length || !this.inputs.some(({ name }) => PAST.test(name))) {
      throw new ModelInvalid(`This is no decoder with past keys and values as transformers.js runs it: ${unknown.length ? `nobody knows its inputs ${unknown.join(", ")}` : "it has no past_key_values inputs"}.`, { unknown });
    }
    this.vocabulary = 0;
    this.#past = this.#nothing();
  }

  /** Draws tokens; set once the vocabulary is known. @type {import("./sampler.js").Sampler} */ sampler = /** @type {any} */ (null);

  /** One token through the model tells the vocabulary, and whether its numbers are numbers. */
  async #prove() {
    const logits = await this.#step([0]);
    this.vocabulary = logits.length;
    if (!logits.every(Number.isFinite)) throw new OutputNotFinite("The model's numbers are not finite. Its weights are damaged, or made for another kind of hardware: take another dtype.", {});
    this.#forget();
  }

  /** @param {import("./scheduler.js").Request} request @returns {Promise<import("./scheduler.js").Outcome>} @throws ContextFull, EmptyText, InvalidOption */
  async generate(request) {
    const asked = performance.now();
    checkPrompt(request.tokens, this, request.options.contextPolicy);
    return this.#turns.take(() => this.#answer(request, asked), { signal: request.signal });
  }

  /** @param {import("./scheduler.js").Request} request @param {number} asked @returns {Promise<import("./scheduler.js").Outcome>} */
  async #answer({ tokens, options, eos, keep = 0, onToken, onPrefill, signal }, asked) {
    const began = performance.now();
    let sequence = tokens.length > this.context ? shifted(tokens, keep, this.context) : [...tokens];
    const cached = this.#rewind(sequence);
    let [drawn, first] = [0, 0];
    const outcome = (/** @type {import("./scheduler.js").Reason} */ reason) => {
      const now = performance.now();
      return { reason, usage: { prompt: tokens.length, completion: drawn, cached }, timings: { prefillMs: (first || now) - began, firstMs: first ? first - asked : 0, decodeMs: first ? now - first : 0 } };
    };
    for (;;) {
      const logits = await this.#advance(sequence, signal, drawn ? undefined : (done) => onPrefill?.(Math.min(done, tokens.length), tokens.length));
      if (!logits) return outcome("abort");
      const token = this.sampler.pick(logits, options, drawn, sequence);
      first ||= performance.now();
      if (eos.has(token)) return outcome("stop");
      sequence.push(token);
      drawn++;
      if (onToken(token)) return outcome("stop");
      if (drawn >= options.maxTokens) return outcome("length");
      if (sequence.length <= this.context) continue;
      if (options.contextPolicy === "stop") return outcome("context");
      sequence = shifted(sequence, keep, this.context);
      this.#rewind(sequence);
    }
  }

  /** Goes back to what the cache and `tokens` have in common, the last token left to compute. @param {number[]} tokens @returns {number} how many that is */
  #rewind(tokens) {
    let same = 0;
    while (same < tokens.length - 1 && same < this.#known.length && tokens[same] === this.#known[same]) same++;
    if (same === 0) this.#forget();
    else if (same < this.#known.length) {
      this.#past = Object.fromEntries(Object.entries(this.#past).map(([name, tensor]) => [name, this.#cut(tensor, same)]));
      this.#known = this.#known.slice(0, same);
    }
    return same;
  }

  /** @param {any} tensor [1, heads, tokens, width] @param {number} length */
  #cut({ type, data, dims: [one, heads, tokens, width] }, length) {
    const out = new data.constructor(heads * length * width);
    for (let h = 0; h < heads; h++) out.set(data.subarray(h * tokens * width, (h * tokens + length) * width), h * length * width);
    return new this.ort.Tensor(type, out, [one, heads, length, width]);
  }

  /** Logits after the last of `tokens`; null when cancelled. @param {number[]} tokens @param {AbortSignal} [signal] @param {(done: number) => void} [onDone] */
  async #advance(tokens, signal, onDone = () => {}) {
    for (;;) {
      await new Promise((resolve) => { setTimeout(resolve); }); // a cancel is heard
      if (signal?.aborted) return null;
      const logits = await this.#step(tokens.slice(this.#known.length, this.#known.length + CHUNK));
      onDone(this.#known.length);
      if (this.#known.length === tokens.length) return logits;
    }
  }

  /** Through the model once; its keys and values are kept. @param {number[]} tokens @returns {Promise<Float32Array>} logits after the last one */
  async #step(tokens) {
    const step = { tokens, past: this.#known.length };
    const own = this.inputs.filter(({ name }) => Object.hasOwn(INPUTS, name)).map(({ name, type }) => {
      const { values, dims } = INPUTS[name](step);
      return [name, new this.ort.Tensor(type, INTEGERS[type](values), dims)];
    });
    const answer = await this.session.run({ ...Object.fromEntries(own), ...this.#past });
    this.#past = Object.fromEntries(Object.keys(this.#past).map((name) => [name, answer[name.replace("past_key_values", "present")]]));
    this.#known = [...this.#known, ...tokens];
    return lastRow(answer.logits);
  }

  /** A cache of nothing. */
  #nothing() {
    return Object.fromEntries(this.inputs.filter(({ name }) => PAST.test(name)).map(({ name, type, shape: [, heads, , width] }) => {
      if (!Number.isInteger(heads) || !Number.isInteger(width) || !Object.hasOwn(EMPTY, type)) throw new ModelInvalid(`The input ${name} must be of shape (batch, heads, past, width) with known heads and width, found ${type} with ${heads} and ${width}.`, { input: name });
      return [name, new this.ort.Tensor(type, EMPTY[/** @type {"float32"} */ (type)](), [1, heads, 0, width])];
    }));
  }

  /** Forgets the cached prefix, once the answers asked for before have what they need of it. */
  clear() {
    return this.#turns.take(async () => this.#forget());
  }

  #forget() {
    this.#known = [];
    this.#past = this.#nothing();
  }

  /** Bytes of cached keys and values. */
  get cacheBytes() {
    return Object.values(this.#past).reduce((sum, { data }) => sum + data.byteLength, 0);
  }

  /** Tokens in the cache. */
  get cached() { return this.#known.length; }

  async dispose() {
    await this.session.release();
  }
}

/** @param {any} tensor [1, n, vocabulary] @returns {Float32Array} of single precision, its own copy */
function lastRow({ type, data, dims }) {
  const row = data.slice(data.length - dims.at(-1));
  if (type === "float32") return row;
  if (row instanceof Uint16Array) throw new ModelInvalid("The model's logits are of half precision, which this browser cannot read. Take another dtype.", { type });
  return Float32Array.from(row);
}
