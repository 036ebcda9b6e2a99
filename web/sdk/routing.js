/**
 * Which adapter a request wants: by the likeness of its vector to what each adapter was trained on. Pure, runs anywhere; twin of
 * pysrc/edgenet/lora/routing.py, both held by tests/vectors/routing.json. Vectors of two embedding models are never compared.
 */
import { NotFinite } from "./errors.js";

/**
 * @typedef {object} AdapterProfile what an adapter was trained on; it stays in this origin's storage and goes into no export
 * @property {number[]} mean d, of unit vectors @property {number} count of passages @property {string[]} examples the first few
 * @property {string} [model] the embedding model, id@version; "" or absent where nobody said
 */

/** Names of files of which each line is an example. */
export const LINES = /\.(jsonl|ndjson)$/i;
/** Cosine below which an adapter has nothing to say to a request; measured with MiniLM. */
export const THRESHOLD = 0.18;
/** Texts kept, and characters of one. */
const EXAMPLES = 8, LENGTH = 200;
/** Passages of all texts that are embedded, and characters of one at most. */
const PASSAGES = 32, PASSAGE = 400;
/** Characters of a request that are compared: its end, where an answer goes on. */
const ASKED = 500;

/** @param {ArrayLike<number>[]} vectors n of d @param {string[]} texts theirs @param {string} model @returns {AdapterProfile} @throws NotFinite */
export function learned(vectors, texts, model) {
  const mean = new Float64Array(vectors[0].length);
  for (const vector of vectors) unit(vector).forEach((value, i) => { mean[i] += value / vectors.length; });
  const examples = texts.filter(Boolean).slice(0, EXAMPLES).map((text) => [...text].slice(0, LENGTH).join(""));
  return { mean: Array.from(mean, Math.fround), count: vectors.length, examples, model };
}

/**
 * Adapters at least as like as `threshold`, the likest first; none: the base answers alone. A profile of another model or width is left out.
 * @template {{profile?: AdapterProfile | null}} T @param {ArrayLike<number>} vector d @param {T[]} adapters @param {number} threshold @param {string} model of the vector
 * @returns {{adapter: T, score: number}[]} `score`: cosine @throws NotFinite for a vector without a direction
 */
export function route(vector, adapters, threshold, model) {
  const wanted = unit(vector);
  const described = adapters.filter(({ profile }) => profile && (profile.model ?? "") === model && profile.mean.length === wanted.length && profile.mean.some(Boolean));
  const scored = described.map((adapter) => ({ adapter, score: dot(unit(/** @type {AdapterProfile} */ (adapter.profile).mean), wanted) }));
  return scored.filter(({ score }) => score >= threshold).sort((a, b) => b.score - a.score);
}

/**
 * A sample of what is learned from, spread over all of it. Of a pair its input, which is what a request is like; of a .jsonl file each line.
 * @param {(string | {input: string, output: string} | {name: string, text: string})[]} examples as `readExamples` reads them @returns {string[]} none is blank
 */
export function sampleOf(examples) {
  const all = examples.flatMap(textsOf).flatMap(passagesOf);
  const count = Math.min(PASSAGES, all.length);
  return Array.from({ length: count }, (_, i) => all[Math.floor(((i + 0.5) * all.length) / count)]);
}

/** What of a request is compared: the last question of a chat, or the end of a prompt. @param {string | {role: string, content: string}[]} asked @returns {string} */
export function questionOf(asked) {
  const text = typeof asked === "string" ? asked : (asked.findLast(({ role }) => role === "user") ?? asked[asked.length - 1]).content;
  return [...text.trim().slice(-2 * ASKED)].slice(-ASKED).join(""); // whole characters
}

/** @param {any} example @returns {string[]} */
function textsOf(example) {
  if (typeof example?.text !== "string" || !LINES.test(example.name)) return filledOf(example);
  return example.text.split("\n").flatMap((/** @type {string} */ line) => filledOf(parsed(line)));
}

/** What of an example says what it is about: its text, else the first that is not blank of a pair. @param {any} example @returns {string[]} */
function filledOf(example) {
  const { text = example, input, output } = Object(example);
  return [text, input, output].filter((one) => typeof one === "string" && one.trim()).slice(0, 1);
}

/** @param {string} line of a .jsonl file; one that is none is told by who reads it to train */
function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

/** Cut at the ends of lines; a line that is longer, anywhere. @param {string} text @returns {string[]} */
const passagesOf = (text) => (text.match(CUT) ?? []).map((passage) => passage.trim()).filter(Boolean);
const CUT = new RegExp(`[^]{1,${PASSAGE}}(?=\\n|$)|[^]{${PASSAGE}}`, "gu");

/** @param {ArrayLike<number>} vector @returns {Float64Array} of length 1 */
function unit(vector) {
  const length = Math.hypot(...Array.from(vector));
  if (!(length > 0 && length < Infinity)) throw new NotFinite("A vector holds NaN, an infinity, or nothing but zeros: it has no direction. Embed the text again.", {});
  return Float64Array.from(vector, (value) => value / length);
}

/** @param {Float64Array} a @param {Float64Array} b */
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
