/**
 * The model's tokenizer: text to WordPiece ids, by `@huggingface/tokenizers`. Runs in a worker and in Node.
 * It never cuts a text: one that is too long is the caller's to split. Equal to Python's `tokenizers` on `tests/vectors/tokenize.json`.
 */
import { Tokenizer } from "@huggingface/tokenizers";

const REMEMBERED = 20000; // units whose count is kept: most of a document's words return

/**
 * @typedef {object} ModelTokenizer
 * @property {(text: string) => number[]} encode ids with [CLS] and [SEP]
 * @property {(text: string) => number} count tokens with [CLS] and [SEP]
 * @property {(unit: string) => number} countUnit tokens of one unit of `split.js`, without [CLS] and [SEP]; remembered
 */

/**
 * @param {object | string} tokenizerJson `tokenizer.json`, parsed or not
 * @param {object | string} config `tokenizer_config.json`, parsed or not
 * @returns {ModelTokenizer}
 */
export function createTokenizer(tokenizerJson, config) {
  const tokenizer = new Tokenizer(parsed(tokenizerJson), parsed(config));
  const countUnit = remembering((unit) => tokenizer.encode(prepared(unit), { add_special_tokens: false }).ids.length);
  const encode = (text) => tokenizer.encode(prepared(text)).ids;
  return { encode, count: (text) => encode(text).length, countUnit };
}

/** @param {(unit: string) => number} count @returns {(unit: string) => number} */
export function remembering(count) {
  /** @type {Map<string, number>} */
  const known = new Map();
  return (unit) => {
    let found = known.get(unit);
    if (found === undefined) {
      if (known.size >= REMEMBERED) known.clear();
      known.set(unit, (found = count(unit)));
    }
    return found;
  };
}

const FAR_HAN = /[\u{20000}-\u{2a6df}\u{2a700}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

/**
 * Where the library's normaliser and Hugging Face's Rust one part: a lone surrogate, a capital sigma at a word's end (JavaScript makes it final),
 * Han characters beyond the basic plane (each is a word of its own).
 * @param {string} text @param {boolean} [lowercase] whether the normaliser lowers capitals
 */
export const prepared = (text, lowercase = true) =>
  (lowercase ? text.toWellFormed().replaceAll("\u03a3", "\u03c3") : text.toWellFormed()).replace(FAR_HAN, " $& ");

const parsed = (value) => (typeof value === "string" ? JSON.parse(value) : value);
