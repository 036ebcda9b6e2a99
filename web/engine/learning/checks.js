/** What learners check, and their words for a kernel's return code. Runs anywhere. Twin of `pysrc/edgenet/learn/vectors.py`. */
import { InvalidOption, NotFinite, OutputNotFinite, WrongLength, WrongType } from "../../sdk/errors.js";
import { INTERNAL_ERROR, INVALID_INPUT, INVALID_OUTPUT, raiseForCode } from "../kernels/traps.js";

// The checks are small and what they say when they fail stands apart, so that a compiler puts the checks alone into the loops that call them.

/** A finite number in [low, high]. @param {any} value @param {string} name @returns {number} */
export function number(value, name, low = -Number.MAX_VALUE, high = Number.MAX_VALUE) {
  if (typeof value === "number" && value >= low && value <= high) return value;
  return wrongNumber(value, name, low, high);
}

/** An integer in [low, high]. @param {any} value @param {string} name @param {number} low @param {number} high @returns {number} */
export function integer(value, name, low, high) {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  return wrongInteger(value, name, low, high);
}

/** @param {any} value @param {string} name @param {number} low @param {number} high @returns {never} */
function wrongInteger(value, name, low, high) {
  if (!Number.isInteger(value)) throw new WrongType(`${name} must be an integer, found ${String(value)}`, { name });
  return wrongNumber(value, name, low, high);
}

/** @param {any} value @param {string} name @param {number} low @param {number} high @returns {never} */
function wrongNumber(value, name, low, high) {
  if (typeof value !== "number") throw new WrongType(`${name} must be a number, found ${typeof value}`, { name });
  if (!Number.isFinite(value)) throw new NotFinite(`${name} must be finite, found ${value}`, { name });
  const range = high === Number.MAX_VALUE ? `at least ${low}` : `from ${low} to ${high}`;
  throw new InvalidOption(`${name} must be ${range}, found ${value}`, { name });
}

/** @param {any} value @param {number} dim @param {string} name @returns {never} */
export function wrongVector(value, dim, name) {
  if (typeof value !== "object" || value === null || typeof value.length !== "number") throw new WrongType(`${name} must be ${dim} numbers, found ${typeof value}`, { name });
  throw new WrongLength(`${name} must have ${dim} numbers, found ${value.length}`, { name, expected: dim });
}

const WORDS = new Map([
  [INVALID_INPUT, () => new NotFinite("The input or gradient holds NaN or an infinity; nothing was changed")],
  [INVALID_OUTPUT, () => new OutputNotFinite("The output leaves the range of f32: the adapter's weights have grown too large. Reset it, or lower alpha")],
  [INTERNAL_ERROR, () => new OutputNotFinite("The step is too large to keep the weights finite and was not taken. Lower the learning rate, or set clip")],
]);

/** @param {number} code @param {string} kernel */
export function raise(code, kernel) {
  const words = WORDS.get(code);
  if (words) throw words();
  raiseForCode(code, kernel);
}
