/**
 * Strict reading of small JSON documents: one table of fields per object, a row per field. Runs anywhere.
 * Twin of `pysrc/edgenet/fields.py`. Unknown fields are kept and never judged.
 */

import { NotCanonical } from "../sdk/errors.js";
import { canonicalText } from "./canonical.js";

/** @typedef {{expected: string, test: (value: any) => boolean}} Check */
/** @typedef {[name: string, check: Check, required?: boolean]} Field */
/** @typedef {typeof import("../sdk/errors.js").EdgeNetError} ErrorClass */

export const MAX_DOCUMENT_BYTES = 4 << 20;

/**
 * A string that the pattern matches from end to end.
 * @param {string} expected @param {string} pattern @returns {Check}
 */
export function matching(expected, pattern) {
  const compiled = new RegExp(`^(?:${pattern})$`);
  return { expected, test: (value) => typeof value === "string" && compiled.test(value) };
}

/** An array of at least `least` values that each pass `item`. @param {Check} item @returns {Check} */
export const listOf = (item, least = 0) => ({
  expected: `an array of ${least || "any number"}${least ? " or more" : ""}, each ${item.expected}`,
  test: (value) => Array.isArray(value) && value.length >= least && value.every(item.test),
});

const isCount = (/** @type {any} */ value) => Number.isSafeInteger(value) && value >= 0;
const TIME_FORM = /^[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$/;

/** @param {any} value */
function isTime(value) {
  if (typeof value !== "string" || !TIME_FORM.test(value)) return false;
  const time = new Date(value); // 30 February and its like are invalid in one browser and 2 March in another
  return !Number.isNaN(time.getTime()) && time.toISOString().slice(0, 19) === value.slice(0, 19);
}

/** @type {Check} */ export const TEXT = { expected: "a non-empty string", test: (v) => typeof v === "string" && v.length > 0 };
/** @type {Check} */ export const BOOL = { expected: "true or false", test: (v) => typeof v === "boolean" };
/** @type {Check} */ export const COUNT = { expected: "an integer from 0 to 2^53 - 1", test: isCount };
/** @type {Check} */ export const POSITIVE = { expected: "an integer from 1 to 2^53 - 1", test: (v) => isCount(v) && v > 0 };
/** @type {Check} */ export const OBJECT = { expected: "an object", test: isObject };
/** @type {Check} */ export const TIME = { expected: "a UTC time such as 2026-01-31T12:00:00Z", test: isTime };
export const SHA256 = matching("64 lower-case hex digits", "[0-9a-f]{64}");
export const KEY_ID = matching("16 lower-case hex digits", "[0-9a-f]{16}");
// The last digit's unused bits must be zero, so that one value has one text.
export const BASE64_32 = matching("32 bytes in base64", "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=");
export const BASE64_64 = matching("64 bytes in base64", "[A-Za-z0-9+/]{85}[AQgw]==");
export const MODEL_ID = matching("lower-case letters and digits joined by single . _ -", "(?=.{1,100}$)[a-z0-9]+([._-][a-z0-9]+)*");
export const VERSION = matching("letters and digits joined by single . _ + -", "(?=.{1,64}$)[0-9A-Za-z]+([._+-][0-9A-Za-z]+)*");

/** @type {Field[]} */
export const SIGNATURE = [
  ["algorithm", { expected: '"ed25519"', test: (v) => v === "ed25519" }, true],
  ["keyId", KEY_ID, true],
  ["timestamp", TIME, true],
  ["value", BASE64_64, true],
];

/** @param {any} value @returns {value is Record<string, any>} */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * A fresh JSON object from UTF-8 bytes, text, or an object of JSON types.
 * Raises `NotJson` if the bytes are no JSON object, `Invalid` if a value has no canonical form.
 * @param {any} data @param {string} what @param {ErrorClass} NotJson @param {ErrorClass} Invalid
 * @returns {Record<string, any>}
 */
export function loadObject(data, what, NotJson, Invalid) {
  let value;
  try {
    value = JSON.parse(isPlain(data) ? canonicalText(data) : textOf(data));
    canonicalText(value);
    checkNumbers(value);
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    if (error instanceof NotCanonical) throw new Invalid(`${what}: ${message}`);
    throw new NotJson(`${what}: expected one JSON object in UTF-8, found something else (${message})`);
  }
  if (!isObject(value)) throw new NotJson(`${what}: expected a JSON object, found ${brief(value)}`);
  return value;
}

/** @param {any} data */
const isPlain = (data) => isObject(data) && !ArrayBuffer.isView(data) && !(data instanceof ArrayBuffer);

/** @param {any} data @returns {string} */
function textOf(data) {
  if (typeof data !== "string" && !ArrayBuffer.isView(data) && !(data instanceof ArrayBuffer)) {
    throw new TypeError(`a value of type ${typeof data}`);
  }
  const raw = typeof data === "string" ? new TextEncoder().encode(data) : data;
  if (raw.byteLength > MAX_DOCUMENT_BYTES) throw new RangeError(`${raw.byteLength} bytes, more than ${MAX_DOCUMENT_BYTES}`);
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
}

/** Whole numbers that a double cannot tell apart are refused in both languages. @param {any} value */
function checkNumbers(value) {
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new NotCanonical(`the number ${value} is beyond 2^53 - 1; write it as a string`);
  }
  if (typeof value === "object" && value !== null) Object.values(value).forEach(checkNumbers);
}

/**
 * Raise `Invalid` unless `value` is an object whose fields pass the table.
 * @param {any} value @param {Field[]} table @param {string} where @param {ErrorClass} Invalid
 */
export function checkFields(value, table, where, Invalid) {
  if (!isObject(value)) throw new Invalid(`${where}: expected an object, found ${brief(value)}`, { field: where });
  for (const [name, check, required] of table) {
    if (!Object.hasOwn(value, name)) {
      if (required) throw new Invalid(`${where}: the field '${name}' is missing; it must be ${check.expected}`, { field: name });
    } else if (!check.test(value[name])) {
      throw new Invalid(`${where}: '${name}' must be ${check.expected}, found ${brief(value[name])}`, { field: name });
    }
  }
}

/** A value as an error message shows it: at most 60 characters. @param {any} value @returns {string} */
export function brief(value) {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}…`;
}

/** Milliseconds since 1970 of a text that passed TIME. @param {string} time */
export const milliseconds = (time) => Date.parse(time);

/** Milliseconds since 1970 as a text that passes TIME, the fraction dropped. @param {number} now */
export const timeText = (now) => `${new Date(now).toISOString().slice(0, 19)}Z`;
