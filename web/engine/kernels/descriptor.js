/** ADR-005's kernel descriptor: ten little-endian u32 at byte 0 of an extension kernel's memory. Pure. Twin of `kernels/descriptor.py`. */
import { InvalidParameters, MemoryAccessViolation } from "../../sdk/errors.js";

export const BYTES = 40;
export const RESERVED = 64;
const ALIGN = 16;
const U32 = 2 ** 32;
const ORDER = ["a", "b", "out", "scratch", "params"];

/** @typedef {{offset: number, size: number}} Region */
/** @typedef {Record<string, Region>} Descriptor regions a, b, out, scratch, params; size 0 is absent */

/** Regions of these sizes in bytes one after another above `base`. @param {Record<string, number>} sizes @param {number} base @returns {Descriptor} */
export function layout(sizes, base) {
  let at = Math.max(base, RESERVED);
  const made = Object.fromEntries(ORDER.map((name) => [name, { offset: 0, size: 0 }]));
  for (const [name, size] of Object.entries(sizes)) {
    at = Math.ceil(at / ALIGN) * ALIGN;
    made[name] = { offset: size ? at : 0, size };
    at += size;
  }
  return made;
}

/** The 40 bytes. @param {Descriptor} regions */
export function pack(regions) {
  const view = new DataView(new ArrayBuffer(BYTES));
  ORDER.forEach((name, i) => {
    view.setUint32(8 * i, regions[name].offset, true);
    view.setUint32(8 * i + 4, regions[name].size, true);
  });
  return new Uint8Array(view.buffer);
}

/**
 * Raises MemoryAccessViolation for a region outside memory or in bytes 0..63, InvalidParameters for misalignment or an output that overlaps.
 * @param {Descriptor} regions @param {number} memoryBytes
 */
export function check(regions, memoryBytes) {
  const present = ORDER.map((name) => ({ name, ...regions[name], end: regions[name].offset + regions[name].size })).filter((r) => r.size);
  for (const { name, offset, size, end } of present) {
    if (!(offset >= RESERVED && size > 0 && end <= Math.min(memoryBytes, U32))) {
      throw new MemoryAccessViolation(`Region "${name}" is bytes ${offset}..${end}; a kernel may use ${RESERVED}..${memoryBytes}.`, { offset, size });
    }
    if (offset % ALIGN) throw new InvalidParameters(`Region "${name}" begins at ${offset}, which is not a multiple of ${ALIGN}.`, { region: name });
  }
  const out = present.find((r) => r.name === "out");
  const hit = out && present.find((r) => r !== out && r.offset < out.end && out.offset < r.end);
  if (hit) throw new InvalidParameters(`The output (bytes ${out.offset}..${out.end}) overlaps "${hit.name}" (${hit.offset}..${hit.end}).`, { region: hit.name });
}
