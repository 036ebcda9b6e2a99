/**
 * What holds of Programs that are added to an engine beside the one it was loaded with: they read its weights, use its cache if any, and share one
 * state. Judged before anything of theirs is placed. Pure; runs in a worker and in Node. Twin of `pysrc/edgenet/run/beside.py`.
 */
import { InvalidOption, ProgramMismatch } from "../../sdk/errors.js";
import { brief } from "../../trust/fields.js";
import { checkFace } from "./face.js";
import { cacheParts, parseProgram } from "./program.js";

/** @typedef {{index: number, offset: number}} Slice where an added Program's weight lies: which of the loaded ones, how many bytes into it */
/** @typedef {{program: any, slices: Slice[]}} Judged */

/**
 * @param {Record<string, any>} programs documents by name @param {any} loaded the loaded Program @param {any} table @param {(name: string) => boolean} taken
 * @returns {Record<string, Judged>} parsed, with the places of their weights
 * @throws InvalidProgram or one of its kinds; ProgramMismatch: weights, a cache or a state that do not agree; InvalidOption: a name that is taken
 */
export function judgeBeside(programs, loaded, table, taken) {
  const parsed = Object.fromEntries(Object.entries(programs).map(([name, document]) => {
    if (!name || taken(name)) throw new InvalidOption(`A Program cannot be added as ${brief(name)}: the name is taken, or no text. Drop that one first.`, { option: "programs" });
    const program = parseProgram(document, table);
    if (program.buffers.some((/** @type {any} */ buffer) => buffer.name === "picked")) checkFace(program); // it will be run with batches
    judgeCache(name, program, loaded, table);
    return [name, program];
  }));
  judgeStates(parsed);
  const slices = (/** @type {string} */ name, /** @type {any} */ program) => program.weights.map((/** @type {any} */ weight) => sliceOf(name, weight, loaded.weights, table));
  return Object.fromEntries(Object.entries(parsed).map(([name, program]) => [name, { program, slices: slices(name, program) }]));
}

/** Bytes of the one state of Programs that are added together. @param {any[]} programs @returns {number} */
export const stateBytes = (programs) => Math.max(0, ...programs.map(({ regions }) => regions.state ?? 0));

/** @param {string} name @param {string} part @param {string} what @returns {never} */
function refuse(name, part, what) {
  throw new ProgramMismatch(`The Program ${brief(name)} cannot run beside the loaded one: ${what}.`, { program: name, part });
}

/** @param {string} name @param {any} program @param {any} loaded @param {any} table */
function judgeCache(name, program, loaded, table) {
  const told = (/** @type {any} */ one) => JSON.stringify([one.regions.kv, cacheParts(one, table)]);
  if (!program.regions.kv || told(program) === told(loaded)) return;
  refuse(name, "cache", `its cache has ${program.regions.kv} bytes, the loaded one's ${loaded.regions.kv}, or other pages; compile both with the same capacity`);
}

/** A buffer of one name has one place in all of them. @param {Record<string, any>} programs */
function judgeStates(programs) {
  const seen = new Map();
  for (const [name, { buffers }] of Object.entries(programs)) {
    for (const { name: buffer, region, offset, dtype, shape } of buffers) {
      const place = JSON.stringify([offset, dtype, shape]);
      if (region !== "state") continue;
      if ((seen.get(buffer) ?? place) !== place) refuse(name, "state", `the state ${brief(buffer)} lies elsewhere than in another Program added with it; compile them with the same states in the same order`);
      seen.set(buffer, place);
    }
  }
}

/** @param {string} name @param {any} weight @param {any[]} loaded @param {any} table @returns {Slice} */
function sliceOf(name, weight, loaded, { layouts }) {
  const { type, shape } = weight;
  const { tensor, first, last } = rowsOf(weight);
  for (const [index, whole] of loaded.entries()) {
    const { tensor: base, first: start, last: end } = rowsOf(whole);
    if (base !== tensor || whole.type !== type || String(whole.shape.slice(1)) !== String(shape.slice(1))) continue;
    if (start === first && end === last) return { index, offset: 0 };
    if (first < start || last > end) continue;
    if (shape.length === 1) return { index, offset: 4 * (first - start) }; // kept as f32
    const form = layouts.weights[layouts.types[type].layout];
    const groups = (first - start) % form.rows === 0 && (last === end || (last - first) % form.rows === 0);
    if (groups) return { index, offset: ((first - start) / form.rows) * (shape[1] / form.columns) * form.bytes };
  }
  return refuse(name, "weights", `it reads ${weight.name} (${type}, ${brief(shape)}), which is no weight of the loaded Program nor whole groups of rows of one`);
}

/** The name of a range says its rows. @param {any} weight */
function rowsOf({ name, shape: [rows] }) {
  const [, tensor, first, last] = /^(.+)\[(\d{1,15}):(\d{1,15})\]$/s.exec(name) ?? [];
  return tensor && Number(last) - Number(first) === rows ? { tensor, first: Number(first), last: Number(last) } : { tensor: name, first: 0, last: rows };
}
