/**
 * RFC 8785 canonical JSON. Runs in page, worker, service worker and Node. Twin of `pysrc/edgenet/canonical.py`.
 * Refuses NaN, infinities, lone surrogates, undefined and what else JSON lacks.
 */

import { NotCanonical } from "../sdk/errors.js";

export const MAX_DEPTH = 64;
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * The canonical UTF-8 bytes of a JSON value.
 * @param {unknown} value
 * @returns {Uint8Array}
 */
export const canonicalize = (value) => new TextEncoder().encode(canonicalText(value));

/**
 * The canonical text of a JSON value. Raises NotCanonical.
 * @param {unknown} value
 * @returns {string}
 */
export function canonicalText(value, depth = 0) {
  if (depth > MAX_DEPTH) {
    throw new NotCanonical(`canonical JSON: a value nested deeper than ${MAX_DEPTH} levels is refused; flatten it`);
  }
  const kind = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  const write = Object.hasOwn(WRITERS, kind) && WRITERS[/** @type {keyof typeof WRITERS} */ (kind)];
  if (!write) throw new NotCanonical(`canonical JSON: a value of type ${kind} is not JSON; convert it first`);
  return write(/** @type {any} */ (value), depth);
}

const WRITERS = {
  null: () => "null",
  boolean: String,
  string: writeString,
  number: writeNumber,
  array: (/** @type {unknown[]} */ items, /** @type {number} */ depth) =>
    `[${Array.from(items, (item) => canonicalText(item, depth + 1)).join(",")}]`,
  object: writeObject,
};

/** @param {string} text */
function writeString(text) {
  if (LONE_SURROGATE.test(text)) {
    throw new NotCanonical(`canonical JSON: the string ${JSON.stringify(text)} holds a lone surrogate; repair the text`);
  }
  return JSON.stringify(text); // escapes exactly as RFC 8785 3.2.2.2 asks once the text is well formed
}

/** @param {number} value */
function writeNumber(value) {
  if (!Number.isFinite(value)) {
    throw new NotCanonical(`canonical JSON: ${value} is not a JSON number; leave it out or use null`);
  }
  return JSON.stringify(value);
}

/** @param {Record<string, unknown>} value @param {number} depth */
function writeObject(value, depth) {
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw new NotCanonical(`canonical JSON: a ${prototype.constructor?.name ?? "object"} is not JSON; convert it first`);
  }
  // The default sort compares UTF-16 code units, as RFC 8785 3.2.3 asks.
  const fields = Object.keys(value).sort().map((key) => `${writeString(key)}:${canonicalText(value[key], depth + 1)}`);
  return `{${fields.join(",")}}`;
}
