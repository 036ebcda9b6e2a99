/**
 * What somebody gives to learn from: files read, pairs recognised, the rest refused with its reason. A part of it is held back: the model never
 * learns from it, and it shows what was learned. Knows no DOM; runs in the page and in Node. Nothing of it leaves the tab.
 */
import { EdgeNetError, NotText, TooLittleData } from "../../sdk/errors.js";
import { LINES } from "../../sdk/routing.js";
import { readFile } from "../library/files.js";
import { observable } from "../observable.js";

const KEPT = "personalise.material"; // settings row: the files as read
/** Of a text, or of the pairs, to hold back. */
const HELD = 0.1;
/** Characters of a text too short to hold anything back of. */
const SHORT = 400;
const PROMPTS = 3, LEAST = 12; // beginnings offered to try it with, and how long their last line must be
const AROUND = 3; // lines of a beginning, and of what stood there

/** @typedef {string | {input: string, output: string}} Example @typedef {{name: string, size: number, examples: Example[], notes: string[]}} Piece */
/** @typedef {{prompt: string, truth: string, asked?: boolean}} Trial what to go on with, and what stood there; `asked`: of a pair, a question to answer */

export class Material {
  /** @type {import("../observable.js").observable<Piece[]>} */ pieces = observable([]);
  /** @type {import("../observable.js").observable<{name: string, message: string}[]>} */ refused = observable([]);

  /** @param {any} db its `settings` */
  constructor(db) {
    this.db = db;
  }

  /** What an earlier visit left. */
  async open() {
    this.pieces.set((await this.db.read("settings", KEPT)) ?? []);
    return this;
  }

  /** Reads files; one of a name that is there replaces it. @param {AsyncIterable<{file: File, name: string}> | Iterable<{file: File, name: string}>} files */
  async add(files) {
    const [read, refused] = [[], []];
    for await (const { file, name } of files) {
      try {
        read.push(await readPiece(file, name));
      } catch (error) {
        if (!(error instanceof EdgeNetError) && error?.name !== "NotReadableError") throw error;
        refused.push({ name, message: error.message });
      }
    }
    this.refused.set(refused);
    await this.#keep(together(this.pieces.value, read)); // as they are now: others may have been given meanwhile
  }

  /** @param {...string} names @returns {Promise<() => Promise<void>>} the way back, to where they stood; what was done since stays */
  async remove(...names) {
    const before = this.pieces.value;
    await this.#keep(before.filter(({ name }) => !names.includes(name)));
    return () => {
      const now = this.pieces.value;
      const theirs = before.filter(({ name }) => names.includes(name) || now.some((one) => one.name === name));
      return this.#keep(together(theirs, now));
    };
  }

  async #keep(pieces) {
    this.pieces.set(pieces);
    await this.db.write([{ put: "settings", key: KEPT, value: pieces }]);
  }

  get bytes() {
    return this.pieces.value.reduce((sum, { size }) => sum + size, 0);
  }

  /** What is learned from, and what is held back. @throws TooLittleData */
  split() {
    const examples = this.pieces.value.flatMap((piece) => piece.examples);
    if (!examples.length) throw new TooLittleData("There is nothing to learn from yet. Drop a text of yours into the field, or choose files.");
    return parted(examples);
  }
}

/** The first ones in their order, then the others; of one name counts the later. @param {Piece[]} pieces @param {Piece[]} later @returns {Piece[]} */
const together = (pieces, later) => [...new Map([...pieces, ...later].map((piece) => [piece.name, piece])).values()];

/** @param {File} file @param {string} name @returns {Promise<Piece>} @throws NotText|TextTooLarge */
async function readPiece(file, name) {
  const { text, notes } = await readFile(file, name);
  const examples = LINES.test(name) ? readLines(name, text) : text.trim() ? [text] : [];
  if (!examples.length) throw new NotText(`"${name}" holds no text.`, { name });
  return { name, size: file.size, examples, notes };
}

/** Each line {"input", "output"}, {"text"} or a string. @param {string} name @param {string} text @returns {Example[]} @throws NotText with the line's number */
export function readLines(name, text) {
  return text.split("\n").flatMap((line, i) => (line.trim() ? [readLine(name, i + 1, line)] : []));
}

function readLine(name, number, line) {
  const found = parsed(line);
  const example = found?.text ?? found;
  if (typeof example === "string") return example;
  if (typeof example?.input === "string" && typeof example?.output === "string") return { input: example.input, output: example.output };
  throw new NotText(`"${name}", line ${number}: each line must be {"input": "\u2026", "output": "\u2026"}, {"text": "\u2026"} or a text in quotes. It begins: ${line.slice(0, 40)}`, { name, line: number });
}

function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

/** The last tenth of the pairs and of each longer text is held back. @param {Example[]} examples @returns {{learn: Example[], held: Example[]}} */
export function parted(examples) {
  const texts = /** @type {string[]} */ (examples.filter((one) => typeof one === "string"));
  const pairs = examples.filter((one) => typeof one !== "string");
  const spare = Math.floor(pairs.length * HELD) || Number(pairs.length > 3);
  const cuts = texts.map((text) => cut(text));
  return {
    learn: [...texts.map((text, i) => text.slice(0, cuts[i])), ...pairs.slice(0, pairs.length - spare)],
    held: [...texts.map((text, i) => text.slice(cuts[i])), ...pairs.slice(pairs.length - spare)].filter(Boolean),
  };
}

/** Where the held part of a text begins: at a line. */
function cut(text) {
  if (text.length < SHORT) return text.length;
  const near = Math.floor(text.length * (1 - HELD));
  return text.indexOf("\n", near) + 1 || near;
}

/** Beginnings to try a model with: lines of what was held back, spread over it. @param {Example[]} held @returns {Trial[]} */
export function trials(held) {
  const found = held.flatMap((one) => (typeof one === "string" ? linesOf(one) : [{ prompt: one.input, truth: one.output, asked: true }]));
  const all = [...new Map(found.map((trial) => [trial.prompt, trial])).values()];
  const step = Math.max(1, all.length / PROMPTS);
  return Array.from({ length: Math.min(PROMPTS, all.length) }, (_, i) => all[Math.floor(i * step)]);
}

/** A line with the two before it, and the lines that stood after it. */
function linesOf(text) {
  const lines = text.split("\n");
  const joined = (from, to) => lines.slice(Math.max(0, from), to).join("\n");
  return lines
    .map((line, i) => ({ whole: line.trim().length >= LEAST && lines[i + 1]?.trim(), prompt: `${joined(i - AROUND + 1, i + 1).trimStart()}\n`, truth: joined(i + 1, i + 1 + AROUND).trimEnd() }))
    .filter(({ whole }) => whole)
    .map(({ prompt, truth }) => ({ prompt, truth }));
}
