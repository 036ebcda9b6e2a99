/**
 * What a GGUF file says of itself before anything of it is loaded: from its header alone, in milliseconds. Page.
 */
import { describe, memory } from "../formats/gguf-info.js";
import { readHeader } from "../formats/gguf.js";

/** @typedef {import("../formats/gguf-info.js").Description} Description */

/**
 * One file, or all parts of a split one in order; their tensors count together, the first part tells the rest.
 * @param {File[]} files @param {{context?: number}} [options] tokens that memory is told for; 0: as a session would plan
 * @returns {Promise<Description & {memory: ReturnType<typeof memory>}>} `memory` is null where the file does not say its sizes
 * @throws {import("./errors.js").InvalidGguf | import("./errors.js").UnsupportedTensorType}
 */
export async function inspectGguf(files, options) {
  const headers = await Promise.all(files.map((file) => readHeader(file, file.name)));
  const size = headers.reduce((sum, header) => sum + header.size, 0);
  const whole = { ...headers[0], size, tensors: new Map(headers.flatMap(({ tensors }) => [...tensors])) };
  return { ...describe(whole), memory: memory(whole, options) };
}
