/** Hex, base64, SHA-256 and Ed25519: the platform's own tools (WebCrypto) under short names.
 * Runs in page, worker, service worker and Node. Refuses nothing but a page without WebCrypto. */

import { FeatureMissing, InsecureContext } from "../sdk/errors.js";

/** The platform's WebCrypto, or the reason why there is none. */
function subtle() {
  const found = globalThis.crypto?.subtle;
  if (found) return found;
  throw new InsecureContext(
    "Verifying models needs a secure context (https or localhost), and this page has none. Open it by https, or on this machine by http://localhost.",
  );
}

/**
 * Not of shared memory, which WebCrypto does not read.
 * @param {Uint8Array | ArrayBuffer} data
 * @returns {Promise<Uint8Array>} 32 bytes
 */
export async function sha256(data) {
  return new Uint8Array(await subtle().digest("SHA-256", /** @type {BufferSource} */ (data)));
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** @param {Uint8Array} bytes */
export const toHex = (bytes) => Array.from(bytes, (byte) => HEX[byte]).join("");

/** Bytes of an even number of hex digits, already checked. @param {string} text */
export function fromHex(text) {
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** Bytes of a base64 text, already checked. @param {string} text */
export const fromBase64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192)); // engines limit how many arguments a call takes
  return btoa(text);
}

/** @param {Uint8Array} a @param {Uint8Array} b */
export const sameBytes = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

/**
 * Whether the 64-byte signature by the 32-byte key covers the message (RFC 8032). False, never an error, for bad bytes;
 * FeatureMissing where the browser has no Ed25519.
 * @param {Uint8Array} publicKey @param {Uint8Array} signature @param {Uint8Array} message
 * @returns {Promise<boolean>}
 */
export async function verifyEd25519(publicKey, signature, message) {
  try {
    const key = await subtle().importKey("raw", /** @type {BufferSource} */ (publicKey), { name: "Ed25519" }, false, ["verify"]);
    const [given, covered] = /** @type {BufferSource[]} */ ([signature, message]);
    return await subtle().verify({ name: "Ed25519" }, key, given, covered);
  } catch (error) {
    if (/** @type {Error} */ (error).name !== "NotSupportedError") {
      if (error instanceof InsecureContext) throw error;
      return false;
    }
    throw new FeatureMissing("This browser cannot check Ed25519 signatures. Update it (Chrome 137, Firefox 129, Safari 17 or newer).", {
      feature: "WebCrypto Ed25519",
    });
  }
}
