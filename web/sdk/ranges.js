/** Files that are read from afar: Python asks for the ranges of them that it must see, one by one. Page. */

/** @typedef {[name: string, offset: number, bytes: Uint8Array]} Range of a file */

/**
 * Asks until the answer wants no more. @template T
 * @param {(ranges: Range[]) => Promise<T | {wanted: [string, number, number]}>} ask @param {(name: string, offset: number, length: number) => Promise<Uint8Array>} read
 * @param {Range[]} [ranges] known from before; what is read is added @returns {Promise<T>}
 */
export async function withRanges(ask, read, ranges = []) {
  for (;;) {
    const answer = await ask(ranges);
    if (!("wanted" in Object(answer))) return /** @type {T} */ (answer);
    const [name, offset, length] = /** @type {{wanted: [string, number, number]}} */ (answer).wanted;
    ranges.push([name, offset, await read(name, offset, length)]);
  }
}
