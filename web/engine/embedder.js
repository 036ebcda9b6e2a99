/**
 * From texts to unit vectors: tokenizer, splitting, runs of an encoder. Runs in the engine worker; it fetches nothing.
 * A text longer than the model reads is split, and its vector is the mean of its passages': nothing is cut off, and `pieces` tells.
 */
import { Disposed, EmptyBatch, EmptyText, NotText, OutputNotFinite } from "../sdk/errors.js";
import { split } from "./split.js";

/**
 * @typedef {object} Embedded
 * @property {Float32Array} vectors n × dims, row by row, each of length 1
 * @property {number} dims
 * @property {Int32Array} tokens n; with [CLS] and [SEP] of every piece
 * @property {Int32Array} pieces n; 1, or into how many passages the text was split
 *
 * @typedef {{ids: number[], text: number}} Piece `text` is the index of the text it belongs to
 *
 * @typedef {object} Encoder what computes: `program-encoder.js` on the engine, `onnx-encoder.js` on onnxruntime-web
 * @property {import("./tokenize.js").ModelTokenizer} tokenizer @property {number} maxTokens of one piece @property {number} dims
 * @property {(lengths: number[]) => number[][]} plan which pieces run together: every index once
 * @property {(lists: number[][]) => Promise<ArrayLike<number>>} run pieces × dims, rows of length 1
 * @property {string} [build] of the engine @property {() => number} memory bytes of its WASM memory @property {() => void | Promise<void>} dispose
 */

export class Embedder {
  /** @type {Encoder | null} */ #encoder;

  /** @param {Encoder} encoder the embedder's from now on */
  constructor(encoder) {
    this.#encoder = encoder;
    this.maxTokens = encoder.maxTokens;
    this.dims = encoder.dims;
  }

  get #open() {
    if (!this.#encoder) throw new Disposed("This model was disposed. Load it again.");
    return this.#encoder;
  }

  /**
   * @param {string[]} texts
   * @param {{signal?: AbortSignal, onProgress?: (done: number, total: number) => void}} [options] progress in tokens; an abort is heard between runs
   * @returns {Promise<Embedded>}
   * @throws EmptyBatch, EmptyText, NotText, OutputNotFinite, Disposed, the signal's reason
   */
  async embed(texts, { signal, onProgress } = {}) {
    const encoder = this.#open;
    check(texts);
    /** @type {Piece[]} */
    const pieces = texts.flatMap((text, i) => this.#pieces(text, i));
    const total = pieces.reduce((sum, { ids }) => sum + ids.length, 0);
    const out = accumulator(texts.length, this.dims, pieces);
    let done = 0;
    for (const rows of encoder.plan(pieces.map(({ ids }) => ids.length))) {
      if (done) await letMessagesIn();
      signal?.throwIfAborted();
      const batch = rows.map((i) => pieces[i]);
      out.add(batch, await encoder.run(batch.map(({ ids }) => ids)));
      done += batch.reduce((sum, { ids }) => sum + ids.length, 0);
      onProgress?.(done, total);
    }
    return out.finish();
  }

  /** Tokens with the model's own marks; not split. @param {string} text */
  countTokens(text) {
    return this.#open.tokenizer.count(text);
  }

  /** Passages that fit the model. @param {string} text @param {{maxTokens?: number, overlap?: number}} [options] @returns {import("./split.js").Passage[]} */
  split(text, { maxTokens = this.maxTokens, ...options } = {}) {
    return split(text, this.#open.tokenizer.countUnit, { maxTokens, ...options });
  }

  /** Bytes of WASM memory; what onnxruntime-web takes is shared by all its models. */
  memory() {
    return this.#encoder?.memory() ?? 0;
  }

  async dispose() {
    const encoder = this.#encoder;
    this.#encoder = null;
    await encoder?.dispose();
  }

  /** @param {string} text @param {number} index @returns {Piece[]} */
  #pieces(text, index) {
    const { encode } = this.#open.tokenizer;
    const ids = encode(text);
    if (ids.length <= this.maxTokens) return [{ ids, text: index }];
    return this.split(text, { overlap: 0 }).map((passage) => ({ ids: encode(passage.text), text: index }));
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
    /** @param {Piece[]} batch @param {ArrayLike<number>} values */
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
