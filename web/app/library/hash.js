/** SHA-256 of text as hex, for telling whether a document or passage changed. Runs anywhere with WebCrypto; not for trust decisions. */

const encoder = new TextEncoder();

/** @param {string} text @returns {Promise<string>} 64 hex digits */
export async function hashText(text) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
