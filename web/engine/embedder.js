/**
 * From texts to unit vectors: tokenizer, batches, onnxruntime-web. Runs in the engine worker; it fetches nothing.
 * A text longer than the model reads is split, and its vector is the mean of its passages': nothing is cut off, and `pieces` tells.
 */
import { Disposed, EmptyBatch, EmptyText, NotText, OutputNotFinite } from "../sdk/errors.js";
import { planBatches } from "./batching.js";
import { MAX_TOKENS, split } from "./split.js";
import { createTokenizer } from "./tokenize.js";

const OUTPUT = "embedding";

/**
 * @typedef {object} Embedded
 * @property {Float32Array} vectors n × dims, row by row, each of length 1
 * @property {number} dims
 * @property {Int32Array} tokens n; with [CLS] and [SEP] of every piece
 * @property {Int32Array} pieces n; 1, or into how many passages the text was split
 *
 * @typedef {{ids: number[], text: number}} Piece `text` is the index of the text it belongs to
 */

/**
 * @param {object} given
 * @param {Uint8Array | ArrayBuffer} given.modelBytes an ONNX file: int32 `input_ids` and `attention_mask` [batch, tokens] → float32 `embedding` [batch, dims]
 * @param {object | string} given.tokenizerJson
 * @param {object | string} given.tokenizerConfig
 * @param {{max_position_embeddings?: number, hidden_size?: number}} [given.config]
 * @param {any} given.ort onnxruntime-web's module, its `env.wasm` already set
 */
export async function createEmbedder({ modelBytes, tokenizerJson, tokenizerConfig, config = {}, ort }) {
  const tokenizer = createTokenizer(tokenizerJson, tokenizerConfig);
  const session = await ort.InferenceSession.create(modelBytes instanceof Uint8Array ? modelBytes : new Uint8Array(modelBytes), OPTIONS);
  return new Embedder(ort, session, tokenizer, Math.min(MAX_TOKENS, config.max_position_embeddings ?? MAX_TOKENS), config.hidden_size ?? 384);
}

// `basic` only: the graph is made of fused operators already, so a longer search should cost start-up time and find little (not measured)
const OPTIONS = { executionProviders: ["wasm"], graphOptimizationLevel: "basic" };

export class Embedder {
  #ort;
  #session;
  #tokenizer;

  /** @param {any} ort @param {any} session @param {ReturnType<typeof createTokenizer>} tokenizer @param {number} maxTokens @param {number} dims */
  constructor(ort, session, tokenizer, maxTokens, dims) {
    [this.#ort, this.#session, this.#tokenizer] = [ort, session, tokenizer];
    this.maxTokens = maxTokens;
    this.dims = dims;
  }

  /**
   * @param {string[]} texts
   * @param {{signal?: AbortSignal, onProgress?: (done: number, total: number) => void}} [options] progress in tokens; an abort is heard between batches
   * @returns {Promise<Embedded>}
   * @throws EmptyBatch, EmptyText, NotText, OutputNotFinite, Disposed, the signal's reason
   */
  async embed(texts, { signal, onProgress } = {}) {
    if (!this.#session) throw new Disposed("This model was disposed. Load it again.");
    check(texts);
    /** @type {Piece[]} */
    const pieces = texts.flatMap((text, i) => this.#pieces(text, i));
    const total = pieces.reduce((sum, { ids }) => sum + ids.length, 0);
    const out = accumulator(texts.length, this.dims, pieces);
    let done = 0;
    for (const { rows, length } of planBatches(pieces.map(({ ids }) => ids.length))) {
      if (done) await letMessagesIn();
      signal?.throwIfAborted();
      const batch = rows.map((i) => pieces[i]);
      out.add(batch, await this.#run(batch, length));
      done += batch.reduce((sum, { ids }) => sum + ids.length, 0);
      onProgress?.(done, total);
    }
    return out.finish();
  }

  /** Tokens with the model's own marks; not split. @param {string} text */
  countTokens(text) {
    return this.#tokenizer.count(text);
  }

  /** Passages that fit the model. @param {string} text @param {{maxTokens?: number, overlap?: number}} [options] @returns {import("./split.js").Passage[]} */
  split(text, { maxTokens = this.maxTokens, ...options } = {}) {
    return split(text, this.#tokenizer.countUnit, { maxTokens, ...options });
  }

  /** Bytes of the WASM memory, which all models of this worker share; 0 where onnxruntime-web does not tell. */
  memory() {
    return this.#ort.env.wasm?.memory?.buffer?.byteLength ?? 0;
  }

  async dispose() {
    await this.#session?.release();
    this.#session = null;
  }

  /** @param {string} text @param {number} index @returns {Piece[]} */
  #pieces(text, index) {
    const ids = this.#tokenizer.encode(text);
    if (ids.length <= this.maxTokens) return [{ ids, text: index }];
    return this.split(text, { overlap: 0 }).map((passage) => ({ ids: this.#tokenizer.encode(passage.text), text: index }));
  }

  /** @param {Piece[]} batch @param {number} length @returns {Promise<Float32Array>} rows × dims */
  async #run(batch, length) {
    const ids = new Int32Array(batch.length * length), mask = new Int32Array(batch.length * length);
    batch.forEach((piece, row) => {
      ids.set(piece.ids, row * length);
      mask.fill(1, row * length, row * length + piece.ids.length);
    });
    const shape = [batch.length, length];
    const feeds = { input_ids: new this.#ort.Tensor("int32", ids, shape), attention_mask: new this.#ort.Tensor("int32", mask, shape) };
    return (await this.#session.run(feeds, [OUTPUT]))[OUTPUT].data;
  }
}

/** @param {string[]} texts */
function check(texts) {
  if (!Array.isArray(texts) || !texts.length) throw new EmptyBatch("There are no texts to embed. Give a list with at least one.");
  texts.forEach((text, item) => {
    if (typeof text !== "string") throw new NotText(`A text must be a string; item ${item} is ${typeof text}.`, { item });
    if (!text.trim()) throw new EmptyText(`Text ${item} is empty or only white space; it has no meaning to embed. Leave it out.`, { item });
  });
}

/** Adds pieces' vectors up to their texts', weighted by tokens. @param {number} n @param {number} dims @param {Piece[]} pieces */
function accumulator(n, dims, pieces) {
  const vectors = new Float32Array(n * dims), tokens = new Int32Array(n), count = new Int32Array(n);
  for (const { text } of pieces) count[text]++;
  return {
    /** @param {Piece[]} batch @param {Float32Array} values */
    add(batch, values) {
      batch.forEach(({ ids, text }, row) => {
        const weight = count[text] === 1 ? 1 : ids.length;
        for (let k = 0; k < dims; k++) vectors[text * dims + k] += weight * values[row * dims + k];
        tokens[text] += ids.length;
      });
    },
    /** @returns {Embedded} */
    finish() {
      for (let i = 0; i < n; i++) finishRow(vectors.subarray(i * dims, (i + 1) * dims), count[i] > 1, i);
      return { vectors, dims, tokens, pieces: count };
    },
  };
}

/** @param {Float32Array} row @param {boolean} mixed a sum of several unit vectors @param {number} item */
function finishRow(row, mixed, item) {
  let squares = 0;
  for (const value of row) squares += value * value;
  if (!(squares > 0 && squares < Infinity)) throw new OutputNotFinite(`The model's vector for text ${item} is not a finite direction. Verify the model's files; if they are whole, the model cannot read this text.`, { item });
  if (mixed) for (let k = 0; k < row.length; k++) row[k] /= Math.sqrt(squares);
}

/** Between batches the worker hears cancels; a microtask would not let them in. */
function letMessagesIn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => { port1.close(); resolve(undefined); };
    port2.postMessage(0);
  });
}
