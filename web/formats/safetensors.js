/**
 * Safetensors: u64 length of the header, the header as JSON, the tensors' bytes. Everything of it may be hostile. Pure, runs anywhere.
 * Twin of `pysrc/edgenet/lora/safetensors.py`.
 */
import { InvalidAdapter } from "../sdk/errors.js";

/** Bytes of a value. @type {Record<string, number>} */
const DTYPES = { F64: 8, I64: 8, U64: 8, F32: 4, I32: 4, U32: 4, F16: 2, BF16: 2, I16: 2, U16: 2, I8: 1, U8: 1, BOOL: 1 };
const MAX_HEADER = 16 << 20;

/** @typedef {{dtype: string, shape: number[], bytes: Uint8Array}} Tensor `bytes`: a view, which may begin anywhere */

/** @param {string} why @returns {never} */
const refuse = (why) => { throw new InvalidAdapter(`These bytes are no safetensors file: ${why}. Get the file again, or export it anew.`, {}); };
const isCount = (/** @type {any} */ n) => Number.isSafeInteger(n) && n >= 0;

/** @param {Uint8Array} bytes of the whole file @returns {{metadata: Record<string, string>, tensors: Map<string, Tensor>}} @throws {InvalidAdapter} */
export function readSafetensors(bytes) {
  const { header, data } = split(bytes);
  const { __metadata__: metadata = {}, ...rows } = header;
  if (!isObject(metadata) || Object.values(metadata).some((value) => typeof value !== "string")) refuse("its metadata are not texts by name");
  const tensors = new Map(Object.entries(rows).map(([name, row]) => [name, tensorOf(name, row, data)]));
  requireWhole([...tensors.values()], data);
  return { metadata, tensors };
}

const isObject = (/** @type {any} */ value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {Uint8Array} bytes @returns {{header: any, data: Uint8Array}} */
function split(bytes) {
  const length = bytes.length < 8 ? NaN : Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (!(length <= Math.min(MAX_HEADER, bytes.length - 8))) refuse("it ends before its header does");
  const text = new TextDecoder("utf-8", { fatal: true });
  try {
    const header = JSON.parse(text.decode(bytes.subarray(8, 8 + length)));
    if (isObject(header)) return { header, data: bytes.subarray(8 + length) };
  } catch { /* told below */ }
  return refuse("its header is no JSON object");
}

/** @param {string} name @param {any} row @param {Uint8Array} data @returns {Tensor} */
function tensorOf(name, row, data) {
  const { dtype, shape, data_offsets: offsets } = Object(row);
  if (!Object.hasOwn(DTYPES, dtype) || !Array.isArray(shape) || !shape.every(isCount) || !Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) refuse(`what it says of ${name.slice(0, 100)} cannot be read`);
  const [begin, end] = offsets;
  const size = shape.reduce((/** @type {number} */ product, /** @type {number} */ n) => product * n, DTYPES[dtype]);
  if (end > data.length || end - begin !== size) refuse(`${name.slice(0, 100)} needs ${size} bytes and has those from ${begin} to ${end} of ${data.length}`);
  return { dtype, shape, bytes: data.subarray(begin, end) };
}

/** Tensors lie one after another and fill the file: nothing is hidden between them, nothing is shared. @param {Tensor[]} tensors @param {Uint8Array} data */
function requireWhole(tensors, data) {
  let end = data.byteOffset;
  for (const { bytes } of tensors.sort((a, b) => a.bytes.byteOffset - b.bytes.byteOffset || a.bytes.length - b.bytes.length)) {
    if (bytes.byteOffset !== end) refuse("its tensors overlap, or leave gaps");
    end += bytes.length;
  }
  if (end !== data.byteOffset + data.length) refuse("bytes follow its last tensor");
}
