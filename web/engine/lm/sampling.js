/**
 * What a request says about drawing tokens, checked, and the row of words that the sampling kernel reads for each token. Pure, runs anywhere.
 * The kernel draws; nothing here looks at a logit.
 */
import { InvalidOption } from "../../sdk/errors.js";

export const WORDS = 16;
/** Tokens that penalties look back on: the last of prompt and answer together. */
export const HISTORY = 256;
const GREEDY = 1;

/**
 * @typedef {object} Sampling
 * @property {number} temperature 0: always the likeliest token @property {number} topK 0: all @property {number} topP @property {number} minP
 * @property {number} repetitionPenalty divides (multiplies negative) logits of tokens seen; 1: none @property {number} frequencyPenalty per time seen
 * @property {number} presencePenalty once for a token seen @property {number} seed whole, below 2^53
 *
 * @typedef {Sampling & {maxTokens: number, stopSequences: string[], contextPolicy: "stop" | "shift", adapters: import("./adapters.js").Wish[]}} Options
 */

const whole = (/** @type {number} */ low, high = Number.MAX_SAFE_INTEGER) => ({ expected: `a whole number from ${low}${high === Number.MAX_SAFE_INTEGER ? "" : ` to ${high}`}`, test: (/** @type {any} */ v) => Number.isSafeInteger(v) && v >= low && v <= high });
const between = (/** @type {number} */ low, /** @type {number} */ high) => ({ expected: `a number from ${low} to ${high}`, test: (/** @type {any} */ v) => typeof v === "number" && v >= low && v <= high });
const TEXTS = { expected: "a list of texts that are not empty", test: (/** @type {any} */ v) => Array.isArray(v) && v.every((text) => typeof text === "string" && text !== "") };
const WISHES = { expected: "a list of {id, scale} with scales from -100 to 100", test: (/** @type {any} */ v) => Array.isArray(v) && v.every((wish) => typeof wish?.id === "string" && between(-100, 100).test(wish.scale)) };

/** Option → [default, what it may be]. The seed is drawn when none is given, and reported. @type {Record<keyof Options, [any, {expected: string, test: (v: any) => boolean}]>} */
const OPTIONS = {
  maxTokens: [Infinity, { expected: "a whole number from 1, or Infinity", test: (v) => v === Infinity || (Number.isSafeInteger(v) && v >= 1) }],
  temperature: [0.7, between(0, 100)],
  topK: [40, whole(0, 2 ** 31 - 1)],
  topP: [0.95, between(0, 1)],
  minP: [0, between(0, 1)],
  repetitionPenalty: [1, between(0.01, 100)],
  frequencyPenalty: [0, between(-100, 100)],
  presencePenalty: [0, between(-100, 100)],
  seed: [undefined, whole(0)],
  stopSequences: [[], TEXTS],
  adapters: [[], WISHES],
  contextPolicy: ["stop", { expected: '"stop" or "shift"', test: (v) => v === "stop" || v === "shift" }],
};

/**
 * All options, defaults filled in. @param {Record<string, any>} [given] absent and undefined mean the default
 * @returns {Options} @throws {InvalidOption} naming the option, what was found and what it may be
 */
export function readOptions(given = {}) {
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(OPTIONS, name));
  if (unknown) throw new InvalidOption(`There is no option "${unknown}". Options: ${Object.keys(OPTIONS).join(", ")}.`, { option: unknown });
  const rows = Object.entries(OPTIONS).map(([name, [standard, { expected, test }]]) => {
    const value = given[name] ?? standard;
    if (value !== undefined && !test(value)) throw new InvalidOption(`${name} must be ${expected}, found ${shown(value)}.`, { option: name });
    return [name, value];
  });
  const options = Object.fromEntries(rows);
  if (options.contextPolicy === "shift" && options.maxTokens === Infinity) {
    throw new InvalidOption('With contextPolicy "shift" an answer can go on for ever: give maxTokens.', { option: "maxTokens" });
  }
  return { ...options, seed: options.seed ?? drawSeed() };
}

/** Numbers as they are: JSON has no NaN and no 1n. @param {any} value */
const shown = (value) => (["number", "bigint", "symbol"].includes(typeof value) ? String(value) : JSON.stringify(value));

/** 32 random bits: short enough to be written down. */
const drawSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];

/**
 * The row of one draw. @param {Sampling} sampling @param {number} step tokens drawn before @param {number[]} tokens prompt and answer so far
 * @returns {{words: Uint32Array, history: number[]}} 16 words, and the tokens that penalties see (none when there are no penalties)
 */
export function rowOf({ temperature, topK, topP, minP, repetitionPenalty, frequencyPenalty, presencePenalty, seed }, step, tokens) {
  const history = repetitionPenalty !== 1 || frequencyPenalty || presencePenalty ? tokens.slice(-HISTORY) : [];
  const words = new Uint32Array(WORDS);
  const floats = new Float32Array(words.buffer);
  floats.set([temperature, 0, topP, minP, repetitionPenalty, frequencyPenalty, presencePenalty]);
  words[1] = topK;
  words.set([seed >>> 0, Math.floor(seed / 2 ** 32), step, history.length, temperature === 0 ? GREEDY : 0], 7);
  return { words, history };
}
