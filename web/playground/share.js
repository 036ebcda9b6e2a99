/** Code in an address, after the `#`, which no server sees: UTF-8, deflated, base64url. Page and Node. A link's code is shown, never run. */

const KEY = "code=";
const MAX_CODE = 100_000; // characters of a link: what browsers and chats still take

/** @param {Uint8Array} bytes @param {CompressionStream | DecompressionStream} stream */
const through = async (bytes, stream) => new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());

/** @param {string} code @returns {Promise<string>} what goes after the `#` @throws RangeError */
export async function toHash(code) {
  const bytes = await through(new TextEncoder().encode(code), new CompressionStream("deflate-raw"));
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  if (text.length > MAX_CODE) throw new RangeError("This code is too long for a link. Copy it, or save it as a file.");
  return KEY + text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** @param {string} hash of an address @returns {boolean} whether it is meant to hold code */
export const isLink = (hash) => hash.startsWith(`#${KEY}`);

/** @param {string} hash of an address @returns {Promise<string | null>} the code; null where it holds none that can be read */
export async function fromHash(hash) {
  const text = hash.replace(/^#/, "");
  if (!text.startsWith(KEY) || text.length > MAX_CODE + KEY.length) return null;
  try {
    const packed = atob(text.slice(KEY.length).replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = await through(Uint8Array.from(packed, (letter) => letter.charCodeAt(0)), new DecompressionStream("deflate-raw"));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null; // a link that was cut off
  }
}
