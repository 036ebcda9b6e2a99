/**
 * Fresh Float32Arrays for results, cut from shared slabs: making a small ArrayBuffer costs a browser more than the whole forward pass.
 * Each result is the caller's alone and is never written again. Trap: its `.buffer` is the slab; to transfer or store one, `slice()` it.
 *
 * Slabs begin small and double while they are used up: who keeps a few results holds little memory, and who makes many pays less for each.
 * What is left is the price of fresh memory itself, mostly the operating system's page faults.
 */
const FIRST = 1 << 16; // bytes
const LARGEST = 1 << 18;

let slab = new ArrayBuffer(0);
let next = 0; // byte

/** A copy of `source`. @param {Float32Array} source @returns {Float32Array} */
export function copyOf(source) {
  const { length } = source;
  if (next + 4 * length > slab.byteLength) {
    if (length > FIRST >> 4) return source.slice();
    slab = new ArrayBuffer(Math.min(Math.max(2 * slab.byteLength, FIRST), LARGEST));
    next = 0;
  }
  const out = new Float32Array(slab, next, length); // three times as quick as subarray()
  next += 4 * length;
  out.set(source);
  return out;
}
