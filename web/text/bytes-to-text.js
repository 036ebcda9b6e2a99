/** Bytes of a file as text, or why they are none. Pure, runs anywhere. */
import { NotText } from "../sdk/errors.js";

/** Known formats that are not text, with what to do instead. @type {[number[], string][]} */
const BINARY = [
  [[0x25, 0x50, 0x44, 0x46], "a PDF. Save its text as a .txt file first"],
  [[0x50, 0x4b, 0x03, 0x04], "a zip or office file. Save it as text, Markdown or HTML first"],
  [[0xd0, 0xcf, 0x11, 0xe0], "an old office file. Save it as text, Markdown or HTML first"],
  [[0x89, 0x50, 0x4e, 0x47], "an image"],
  [[0xff, 0xd8, 0xff], "an image"],
  [[0x47, 0x49, 0x46, 0x38], "an image"],
];

/**
 * Bytes as text: UTF-8, or UTF-16 with a byte order mark. Bytes that are not UTF-8 become U+FFFD and are counted.
 * @param {Uint8Array} bytes @param {string} name for messages
 * @returns {{text: string, replaced: number}}
 * @throws {NotText} for binary files
 */
export function decodeText(bytes, name) {
  const kind = BINARY.find(([magic]) => magic.every((byte, i) => bytes[i] === byte));
  if (kind) throw new NotText(`"${name}" is ${kind[1]}.`, { name });
  const utf16 = bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : null;
  if (!utf16 && bytes.subarray(0, 8192).includes(0)) throw new NotText(`"${name}" is a binary file, not text.`, { name });
  const text = new TextDecoder(utf16 ?? "utf-8").decode(bytes).replace(/\r\n?/g, "\n");
  const replaced = text.split("\ufffd").length - 1;
  if (replaced > 20 && replaced > text.length / 10)
    throw new NotText(
      `"${name}" is not UTF-8 text: ${replaced.toLocaleString("en")} of its characters cannot be read. If it is text in another encoding, save it as UTF-8.`,
      { name, replaced },
    );
  return { text, replaced };
}
