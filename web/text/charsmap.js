/**
 * SentencePiece's precompiled normaliser: the longest prefix that the file's table knows is replaced, else a character stays. Runs anywhere.
 * Ours, because the library takes NFKC for it. Table: S. Kanda's XOR-compressed double array, as in SentencePiece's `normalizer.cc`.
 */

/**
 * @param {string} charsmap base64, from `normalizer.precompiled_charsmap`
 * @returns {(text: string) => string}
 */
export function precompiled(charsmap) {
  const bytes = Uint8Array.from(atob(charsmap), (c) => c.charCodeAt(0));
  const size = bytes.length >= 4 ? new DataView(bytes.buffer).getUint32(0, true) : 0;
  const units = new Uint32Array(bytes.slice(4, 4 + size - (size % 4)).buffer);
  const texts = bytes.subarray(4 + size);
  return (text) => normalized(units, texts, utf8.encode(text));
}

const utf8 = new TextEncoder();

function normalized(units, texts, input) {
  const output = [];
  for (let i = 0; i < input.length; ) {
    const found = longest(units, input, i);
    const length = found ? found.length : characterBytes(input[i]);
    const source = found ? texts : input;
    const start = found ? found.value : i;
    const end = found ? texts.indexOf(0, start) : i + length;
    for (let k = start; k < (end < 0 ? source.length : end); k++) output.push(source[k]);
    i += length;
  }
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(output));
}

const characterBytes = (first) => (first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4);
const base = (unit) => (unit >>> 10) << ((unit & 0x200) >>> 6);

/**
 * Walks the double array: a unit holds its children's base, its own letter (low byte) and whether a value ends here (bit 8).
 * @returns {{length: number, value: number} | null}
 */
function longest(units, input, start) {
  let node = base(units[0] ?? 0);
  /** @type {{length: number, value: number} | null} */
  let found = null;
  for (let i = start; i < input.length && input[i]; i++) {
    node ^= input[i];
    const unit = units[node] ?? 0;
    if ((unit & 0x800000ff) !== input[i]) break; // a set top bit is a value, no letter
    node ^= base(unit);
    if ((unit >>> 8) & 1) found = { length: i - start + 1, value: (units[node] ?? 0) & 0x7fffffff };
  }
  return found;
}
