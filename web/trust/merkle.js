/**
 * Chunked Merkle trees. Runs in page, worker, service worker and Node. Twin of `pysrc/edgenet/integrity.py`.
 * Leaf = SHA-256(0x00 ‖ chunk), node = SHA-256(0x01 ‖ left ‖ right); an odd node is promoted, never duplicated.
 */

import { HashMismatch, InvalidOption, SizeMismatch } from "../sdk/errors.js";
import { fromHex, sha256, toHex } from "./bytes.js";

export const DIGEST_SIZE = 32;
export const CHUNK_SIZE = 1_048_576;
export const MAX_INLINE_LEAVES = 1024;

/** How many chunks, and so leaves, a file has; at least 1. @param {number} size @param {number} chunkSize */
export const chunkCount = (size, chunkSize) => Math.max(1, Math.ceil(size / chunkSize));

/** The length of chunk `index` in bytes. @param {number} size @param {number} chunkSize @param {number} index */
export const chunkLength = (size, chunkSize, index) => Math.min(chunkSize, size - index * chunkSize);

/**
 * The leaf of a chunk that the caller holds as 0x00 followed by the chunk's bytes: no copy is made.
 * @param {Uint8Array} prefixed 1 + n bytes
 * @returns {Promise<Uint8Array>} 32 bytes
 */
export async function leafHash(prefixed) {
  if (prefixed[0] !== 0) throw new InvalidOption("leafHash was given a buffer whose first byte is not the prefix 0x00");
  return sha256(prefixed);
}

/** The leaf of a bare chunk; copies it. @param {Uint8Array} chunk @returns {Promise<Uint8Array>} */
export function leafOf(chunk) {
  const prefixed = new Uint8Array(1 + chunk.length);
  prefixed.set(chunk, 1);
  return sha256(prefixed);
}

/** @param {Uint8Array} left @param {Uint8Array} right */
function nodeHash(left, right) {
  const joined = new Uint8Array(1 + 2 * DIGEST_SIZE);
  joined[0] = 1;
  joined.set(left, 1);
  joined.set(right, 1 + DIGEST_SIZE);
  return sha256(joined);
}

/**
 * @param {Uint8Array[]} leaves 32 bytes each, at least one
 * @returns {Promise<Uint8Array>} 32 bytes
 */
export async function merkleRoot(leaves) {
  if (!leaves.length) throw new InvalidOption("merkleRoot was given no leaf; even an empty file has one");
  let row = leaves;
  while (row.length > 1) {
    const pairs = Array.from({ length: row.length >> 1 }, (_, i) => nodeHash(row[2 * i], row[2 * i + 1]));
    row = [...(await Promise.all(pairs)), ...row.slice(pairs.length * 2)];
  }
  return row[0];
}

/**
 * The leaves of a parsed artifact, from `leaves` or from the bytes of its leaves file, checked.
 * @param {any} artifact @param {Uint8Array} [leavesFile]
 * @returns {Promise<Uint8Array[]>} 32 bytes each
 */
export async function leavesOf(artifact, leavesFile = new Uint8Array()) {
  if (artifact.leaves) return artifact.leaves.map(fromHex);
  const { filename, size, sha256: wanted } = artifact.leavesFile;
  await checkBytes(leavesFile, size, wanted, filename);
  const leaves = Array.from({ length: size / DIGEST_SIZE }, (_, i) => leavesFile.slice(i * DIGEST_SIZE, (i + 1) * DIGEST_SIZE));
  checkHash(toHex(await merkleRoot(leaves)), artifact.merkleRoot, filename);
  return leaves;
}

/**
 * Return if the bytes have this size and SHA-256; raise SizeMismatch or HashMismatch naming `name` if not.
 * @param {Uint8Array} data @param {number} size @param {string} sha256Hex @param {string} name
 */
export async function checkBytes(data, size, sha256Hex, name) {
  if (data.length !== size) {
    throw new SizeMismatch(`${name}: expected ${size} bytes, found ${data.length}; fetch it again from another source`, {
      file: name, expected: size, found: data.length,
    });
  }
  checkHash(toHex(await sha256(data)), sha256Hex, name);
}

/** @param {string} found @param {string} wanted @param {string} name */
function checkHash(found, wanted, name) {
  if (found === wanted) return;
  throw new HashMismatch(`${name}: expected SHA-256 ${wanted}, found ${found}; fetch it again from another source`, {
    file: name, expected: wanted, found,
  });
}
