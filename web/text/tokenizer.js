/**
 * Text to tokens and back by a `tokenizer.json`, special tokens kept out of what people write. Runs in a worker and in Node; twin of
 * `pysrc/edgenet/text/encode.py`. Normalisers, pre-tokenizers, WordPiece and unigram are `@huggingface/tokenizers`', where they agree with
 * Hugging Face's Rust; BPE and precompiled normalisers are ours.
 */
import { Tokenizer } from "@huggingface/tokenizers";
import { TokenizerInvalid } from "../sdk/errors.js";
import { prepared } from "../engine/tokenize.js";
import { Bpe } from "./bpe.js";
import { precompiled } from "./charsmap.js";
import { cutter } from "./cut.js";
import { Decoder, StreamDecoder, idsOf } from "./decode.js";
import { addedTokens, plainModel } from "./plain.js";

/** @typedef {import("./cut.js").Word} Word */
/**
 * @typedef {object} EncodeOptions
 * @property {boolean} [special] written-out special tokens count as such
 * @property {string} [mark] with `special`: what keeps others from counting so, and is left out
 * @property {boolean} [around] with the tokens a model wants first and last
 */

export class TextTokenizer {
  /** @param {any} tokenizerJson its content; TokenizerInvalid when it cannot be built */
  constructor(tokenizerJson) {
    try {
      /** Special tokens by their text. @type {Map<string, Word>} */
      this.special = new Map(addedTokens(tokenizerJson, true).map((token) => [token.content, asWord(token)]));
      this.cutSpecial = cutter([...this.special.values()]);
      const ids = idsOf(tokenizerJson.model);
      this.decoder = new Decoder(tokenizerJson, ids);
      this.plain = plainEncoder(tokenizerJson, ids);
      const [first, last] = around(tokenizerJson);
      /** Ids that the model wants before and after a text. */
      this.first = first;
      this.last = last;
    } catch (error) {
      if (error instanceof TokenizerInvalid) throw error;
      throw new TokenizerInvalid(`The tokenizer cannot be built: ${error.message}. Get the model's files anew.`);
    }
  }

  /** @param {string} text a lone surrogate counts as U+FFFD @param {EncodeOptions} [options] @returns {number[]} token ids */
  encode(text, { special = false, mark = "", around = false } = {}) {
    text = text.toWellFormed();
    const pieces = special ? this.cutSpecial(text) : [text];
    const ids = pieces.flatMap((piece) => (typeof piece === "string" ? this.plain(mark ? piece.replaceAll(mark, "") : piece) : [piece.id]));
    return around ? [...this.first, ...ids, ...this.last] : ids;
  }

  /** How many tokens `encode` gives. @param {string} text @param {EncodeOptions} [options] */
  countTokens(text, options) {
    return this.encode(text, options).length;
  }

  /** @param {Iterable<number>} tokens @param {{special?: boolean}} [options] `special`: special tokens are written out, else left out */
  decode(tokens, { special = false } = {}) {
    return this.decoder.decode(tokens, special);
  }

  /** A decoder that takes one token at a time. @param {{special?: boolean, atStart?: boolean}} [options] */
  stream(options) {
    return new StreamDecoder(this.decoder, options);
  }
}

const asWord = ({ id, content, lstrip = false, rstrip = false }) => ({ id, text: content, lstrip, rstrip });

/** An encoder that no special token can come out of, whatever the text says. @param {any} json @param {Map<string, number>} ids @returns {(text: string) => number[]} */
function plainEncoder(json, ids) {
  const special = new Set(addedTokens(json, true).map((token) => token.content));
  const words = addedTokens(json, false);
  const bpe = json.model.type === "BPE" ? new Bpe(json.model, special, ids) : null;
  const model = bpe ? { type: "BPE", vocab: {}, merges: [] } : plainModel(json.model, special, words);
  const shell = new Tokenizer({ ...json, added_tokens: [], post_processor: null, model }, {});
  const encode = bpe ? (word) => bpe.encode(word) : byLibrary(shell.model);
  const normalize = normalizer(json.normalizer, shell);
  const split = (text, section) => (shell.pre_tokenizer ? shell.pre_tokenizer(text, { section_index: section }) : [text]);
  const ofText = (text, section) => (text ? split(text, section).flatMap(encode) : []);
  const cut = cutter(words.map(asWord));
  return (text) => cut(text).flatMap((piece, i) => (typeof piece === "string" ? ofText(normalize(piece), i) : [piece.id]));
}

/** @returns {(word: string) => number[]} */
const byLibrary = (model) => (word) => model([word]).map((token) => model.tokens_to_ids.get(token) ?? model.unk_token_id);

/** One step after the other: ours where the library's differs. @returns {(text: string) => string} */
function normalizer(config, shell) {
  if (!config) return (text) => text;
  const steps = config.type === "Sequence" ? config.normalizers : [config];
  const theirs = config.type === "Sequence" ? shell.normalizer.normalizers : [shell.normalizer];
  const run = steps.map((step, i) => OURS[step.type]?.(step, theirs[i]) ?? theirs[i]);
  return (text) => run.reduce((done, step) => step(done), text);
}

const OURS = {
  Precompiled: (step) => precompiled(step.precompiled_charsmap),
  Prepend: (_, theirs) => (text) => (text ? theirs(text) : text),
  BertNormalizer: (step, theirs) => (text) => theirs(prepared(text, step.lowercase)),
};

/**
 * [first, last]: the ids that the post-processor, or the one in its sequence that does, puts around one text.
 * @returns {[number[], number[]]}
 */
function around(tokenizerJson) {
  const own = tokenizerJson.post_processor;
  const steps = own?.processors ?? (own ? [own] : []);
  const step = steps.find(({ type }) => type in AROUND);
  return step ? AROUND[step.type](step) : [[], []];
}

const pair = (step) => [[step.cls[1]], [step.sep[1]]];

function template(step) {
  /** @type {[number[], number[]]} */
  const sides = [[], []];
  let after = 0;
  for (const { SpecialToken: mark } of step.single) {
    if (!mark) after = 1;
    else if (!step.special_tokens[mark.id]) {
      throw new TokenizerInvalid(`The tokenizer puts "${mark.id}" around a text and does not say which token that is. Get the file anew.`);
    } else sides[after].push(...step.special_tokens[mark.id].ids);
  }
  return sides;
}

const AROUND = { TemplateProcessing: template, BertProcessing: pair, RobertaProcessing: pair };
