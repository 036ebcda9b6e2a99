/**
 * Tokens to text: what bytes each token stands for, and pieces of a stream that never split a character. Runs anywhere.
 * Twin of `pysrc/edgenet/text/decode.py`. Bytes that are no UTF-8 become U+FFFD, one for each maximal wrong part (WHATWG Encoding).
 */
import { TokenizerInvalid } from "../sdk/errors.js";

const utf8 = new TextEncoder();
const NOTHING = new Uint8Array(0);
const SPACE = 0x20;
const CONTRACTED = new Set([" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're"]); // the library's clean-up, which looks at one token at a time

/** GPT-2's letters for the 256 bytes: printable ones stand for themselves, the others follow from U+0100. @returns {Map<string, number>} */
export function byteAlphabet() {
  const shown = (b) => (b > 0x20 && b < 0x7f) || (b > 0xa0 && b < 0xad) || b > 0xad;
  const bytes = Array.from({ length: 256 }, (_, b) => b);
  const hidden = bytes.filter((b) => !shown(b));
  return new Map(bytes.map((b) => [String.fromCodePoint(shown(b) ? b : 0x100 + hidden.indexOf(b)), b]));
}

/** Text → id of a tokenizer.json's `model`, empty where its vocabulary is a list. Made once: 150,000 texts take a while. @param {any} model @returns {Map<string, number>} */
export function idsOf({ vocab }) {
  const ids = new Map();
  if (!Array.isArray(vocab)) for (const text in vocab) ids.set(text, vocab[text]);
  return ids;
}

/** @param {Map<string, number>} ids */
function byId(ids) {
  /** @type {string[]} */
  const texts = [];
  for (const [text, id] of ids) texts[id] = text;
  return texts;
}

/** What a tokenizer.json says of the way back. It never changes; `StreamDecoder` holds what does. */
export class Decoder {
  /** @param {any} tokenizerJson @param {Map<string, number>} ids of its vocabulary */
  constructor(tokenizerJson, ids = idsOf(tokenizerJson.model)) {
    const { model, added_tokens: added = [] } = tokenizerJson;
    /** By id. @type {string[]} */
    this.texts = Array.isArray(model.vocab) ? model.vocab.map(([text]) => text) : byId(ids);
    this.added = new Map(added.map((token) => [token.id, utf8.encode(token.content)]));
    this.special = new Set(added.filter((token) => token.special).map((token) => token.id));
    const steps = stepsOf(tokenizerJson.decoder);
    this.way = WAYS[steps.find((step) => step.type in WAYS)?.type] ?? plain;
    this.stripsStart = steps.some(strips);
  }

  /**
   * The bytes of one token. Throws TokenizerInvalid for an id that is no token.
   * @param {number} token @param {boolean} special whether special tokens are written out
   */
  bytesOf(token, special) {
    if (this.added.has(token)) return this.special.has(token) && !special ? NOTHING : this.added.get(token);
    const text = this.texts[token];
    if (text === undefined) {
      const why = `There is no token ${token}: the vocabulary has ${this.texts.length}. Decode with the model that made it.`;
      throw new TokenizerInvalid(why, { token });
    }
    return this.way(text);
  }

  /** The text of `tokens` from a text's start. @param {Iterable<number>} tokens @param {boolean} [special] */
  decode(tokens, special = false) {
    const stream = new StreamDecoder(this, { special, atStart: true });
    let text = "";
    for (const token of tokens) text += stream.push(token);
    return text + stream.end();
  }
}

/** Takes tokens one by one and gives text as soon as it is whole. */
export class StreamDecoder {
  /** @param {Decoder} decoder @param {{special?: boolean, atStart?: boolean}} [options] `atStart`: the space before a first word is left out */
  constructor(decoder, { special = false, atStart = false } = {}) {
    this.decoder = decoder;
    this.special = special;
    this.strip = atStart && decoder.stripsStart;
    this.utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  }

  /** The text that `token` completes; may be empty. @param {number} token */
  push(token) {
    let bytes = this.decoder.bytesOf(token, this.special);
    if (this.strip && bytes.length) {
      this.strip = false;
      if (bytes[0] === SPACE) bytes = bytes.subarray(1);
    }
    return this.utf8.decode(bytes, { stream: true });
  }

  /** What was held back, a broken character as U+FFFD. */
  end() {
    return this.utf8.decode();
  }
}

// --- from a token's text to its bytes, by the decoder that the file names
const ALPHABET = byteAlphabet();

function byteLevel(text) {
  const bytes = Array.from(text, (character) => ALPHABET.get(character));
  return bytes.includes(undefined) ? utf8.encode(text) : Uint8Array.from(/** @type {number[]} */ (bytes));
}

function sentencePiece(text) {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(text);
  return byte ? Uint8Array.of(parseInt(byte[1], 16)) : utf8.encode(text.replaceAll("\u2581", " "));
}

function wordPiece(text) {
  if (text.startsWith("##")) return utf8.encode(text.slice(2));
  return utf8.encode(CONTRACTED.has(` ${text}`) ? text : ` ${text}`);
}

const plain = (text) => utf8.encode(text);

const WAYS = { ByteLevel: byteLevel, ByteFallback: sentencePiece, Metaspace: sentencePiece, Replace: sentencePiece, WordPiece: wordPiece };

/** @returns {any[]} */
const stepsOf = (decoder) => (!decoder ? [] : decoder.type === "Sequence" ? decoder.decoders.flatMap(stepsOf) : [decoder]);

const strips = (step) =>
  step.type === "WordPiece" || (step.type === "Strip" && step.start > 0) || (step.type === "Metaspace" && (step.prepend_scheme ?? "always") !== "never");
