/**
 * Brings a model's artifacts into the store, and checks and repairs those that are there. Runs in the loader worker only.
 * One tab downloads, under the artifact's write lock; the others wait for the lock, show its progress, and find the work done.
 */
import { leafOf, leavesOf, chunkLength } from "../trust/merkle.js";
import { sameBytes } from "../trust/bytes.js";
import { AllSourcesFailed, SourceUnsupported } from "../sdk/errors.js";
import { openForWriting, removeArtifact } from "./artifact.js";
import { fetchChunks } from "./fetcher.js";
import { openRange } from "./http.js";
import { withLock, writeLock } from "./locks.js";
import { bytesHeld, hasBit } from "./ranges.js";
import { candidates } from "./sources.js";
import { isPresent } from "./store.js";

/**
 * @typedef {object} Setting
 * @property {import("./http.js").Wire} wire
 * @property {number} parallel @property {number} retries @property {number} timeout ms
 * @property {string[]} prefer source types, best first
 * @property {string[]} [places] where bytes may be kept, in this order @property {{bytes: number, ms: number}} [every] when bits are set
 */

/** @param {any} manifest @returns {{root: string, filename: string, size: number, artifact: any}[]} one row per distinct content, largest first */
export function filesOf(manifest) {
  const rows = Object.values(manifest.artifacts).map((artifact) => ({ root: artifact.merkleRoot, filename: artifact.filename, size: artifact.size, artifact }));
  return rows.filter(({ root }, i) => rows.findIndex((row) => row.root === root) === i).sort((a, b) => b.size - a.size);
}

/**
 * Fetches what is missing of every artifact, all together.
 * @param {import("./catalog.js").ModelRecord} record @param {Setting} setting
 * @param {{signal?: AbortSignal, progress: ReturnType<typeof import("./progress.js").trackProgress>, onFallback: (event: any) => void}} options
 */
export async function pullArtifacts(record, setting, { signal, progress, onFallback }) {
  const stop = new AbortController(); // one failed file ends the others
  const both = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const work = filesOf(record.manifest).map(async (file) => {
    try {
      progress.start(file.root);
      if (!(await isPresent(file.root))) await underLock(record, file, setting, both, onFallback, progress, fill);
      progress.set(file.root, file.size);
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  });
  await Promise.allSettled(work);
  await Promise.all(work);
}

/** Opens the artifact under its lock, lets `work` do its part, and leaves nothing behind if nothing was verified. */
function underLock(record, file, setting, signal, onFallback, progress, work) {
  return withLock(writeLock(file.root), { signal }, async () => {
    if (work === fill && (await isPresent(file.root))) return undefined; // another tab was faster
    const writer = await openForWriting(file.root, file.artifact, { places: setting.places, every: setting.every, now: setting.wire.now, onFallback });
    try {
      return await work({ record, file, setting, signal, onFallback, progress, writer });
    } finally {
      const { empty } = writer;
      writer.close();
      if (empty) await removeArtifact(file.root, writer.record.place);
    }
  });
}

/** Fetches the missing chunks. What was verified before a failure or a cancel is kept. */
async function fill({ record, file, setting, signal, onFallback, progress, writer }) {
  const { size, chunkSize } = file.artifact;
  const wanted = writer.missing();
  let held = bytesHeld(writer.record.have, chunkSize, size);
  progress.set(file.root, held);
  if (!wanted.length) return;
  const sources = candidates(record.manifest, file.artifact, record.url, setting.prefer);
  const leaves = await loadLeaves(record, file.artifact, setting, signal);
  const onChunk = async (index, bytes) => {
    await writer.write(index, bytes);
    held += bytes.length;
    progress.set(file.root, Math.min(held, size - 1)); // "done" only after the last commit
  };
  try {
    await fetchChunks({ ...setting, size, chunkSize, leaves, sources, signal, onChunk, onFallback, reuse: true }, wanted);
  } finally {
    await writer.commit();
  }
}

/** @returns {Promise<Uint8Array[]>} a chunk's hashes; from the manifest, or from the leaves file beside the artifact */
export async function loadLeaves(record, artifact, setting, signal) {
  if (artifact.leaves) return leavesOf(artifact);
  const { leavesFile } = artifact;
  const attempts = [];
  for (const { url } of candidates(record.manifest, { filename: leavesFile.filename }, record.url, setting.prefer)) {
    try {
      return await leavesOf(artifact, await readWhole(url, leavesFile.size, setting, signal));
    } catch (error) {
      signal?.throwIfAborted();
      attempts.push({ url, code: error.code, reason: error.message });
    }
  }
  if (!attempts.length) throw new SourceUnsupported(`No source of this program holds ${leavesFile.filename}. Ask the publisher for an http source.`);
  throw new AllSourcesFailed(`The chunk hashes of ${artifact.filename} could not be read. ${attempts.map((a) => a.reason).join(" ")}`, { attempts });
}

async function readWhole(url, size, setting, signal) {
  const bytes = new Uint8Array(size);
  let filled = 0;
  const { body } = await openRange(url, { from: 0, to: size, size, ranged: false }, { ...setting, signal });
  for await (const piece of body) {
    bytes.set(piece.subarray(0, size - filled), filled);
    filled += piece.length;
  }
  return filled === size ? bytes : bytes.subarray(0, Math.min(filled, size));
}

/**
 * Hashes every stored chunk again, and fetches those that are damaged or gone.
 * @returns {Promise<{chunks: number, damaged: {file: string, chunk: number}[]}>} how many were hashed; which had to be fetched again
 */
export async function verifyArtifacts(record, setting, { signal, progress, onFallback }) {
  const result = { chunks: 0, damaged: [] };
  for (const file of filesOf(record.manifest)) {
    progress.start(file.root);
    await underLock(record, file, setting, signal, onFallback, progress, (context) => check(context, result));
    progress.set(file.root, file.size);
  }
  return result;
}

async function check(context, result) {
  const { record, file, setting, signal, progress, writer } = context;
  const { size, chunkSize, filename } = file.artifact;
  const leaves = await loadLeaves(record, file.artifact, setting, signal);
  const bad = [];
  for (let i = 0; i < leaves.length; i++) {
    signal?.throwIfAborted();
    result.chunks++;
    const bytes = hasBit(writer.record.have, i) ? await writer.read(i) : undefined;
    if (!bytes || bytes.length !== chunkLength(size, chunkSize, i) || !sameBytes(await leafOf(bytes), leaves[i])) bad.push(i);
    progress.set(file.root, Math.min((i + 1) * chunkSize, size - 1));
  }
  result.damaged.push(...bad.map((chunk) => ({ file: filename, chunk })));
  if (!bad.length) return;
  await writer.forget(bad);
  await fill({ ...context, progress: { ...progress, set() {} } });
}
