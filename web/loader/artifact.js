/**
 * One artifact being written, chunk by chunk. Runs in the loader worker only, under the artifact's write lock.
 * Bytes are written and flushed before their bits are set: a tab killed at any moment leaves bits only of bytes that are there.
 */
import { QuotaExceeded, StorageError, StorageUnavailable } from "../sdk/errors.js";
import { chunkCount } from "../trust/merkle.js";
import { sleep } from "./http.js";
import { memory } from "./memory.js";
import { bitset, bytesHeld, clearBit, missing, setBit } from "./ranges.js";
import { artifactKey, chunkKey, deleteKey, folder, readArtifactRecord, readKey, updateKey, writeChunk } from "./store.js";

/** Bits are set after this much, or this long; less often is faster, more often loses less to a killed tab. */
export const COMMIT = { bytes: 64 << 20, ms: 1000 };

/**
 * @typedef {object} Place
 * @property {(index: number, bytes: Uint8Array) => void | Promise<void>} write
 * @property {(index: number) => Promise<Uint8Array | undefined> | Uint8Array | undefined} read
 * @property {() => void | Promise<void>} flush
 * @property {() => void} close
 * @property {boolean} fresh nothing was there before: bits of an old record mean nothing
 */

/** place → (root, {size, chunkSize}) → Place. In the order of preference. */
const PLACES = { opfs: openOpfs, idb: openIdb, memory: openMemory };

/**
 * Opens an artifact for writing in the best place this browser offers.
 * @param {string} root @param {{size: number, chunkSize: number}} artifact
 * @param {{places?: string[], every?: {bytes: number, ms: number}, now?: () => number, onFallback?: (event: {code: string, reason: string}) => void}} [options]
 */
export async function openForWriting(root, { size, chunkSize }, { places = Object.keys(PLACES), every = COMMIT, now = Date.now, onFallback } = {}) {
  const old = await readArtifactRecord(root);
  const { name, place } = await firstPlace(old ? [old.place, ...places.filter((p) => p !== old.place)] : places, root, { size, chunkSize }, onFallback);
  const keep = old && old.place === name && !place.fresh && old.size === size && old.chunkSize === chunkSize;
  const record = { size, chunkSize, have: keep ? old.have : bitset(chunkCount(size, chunkSize)), complete: keep ? old.complete : false, lastUsed: now(), place: name };
  return makeWriter(root, record, place, now, every);
}

async function firstPlace(names, root, artifact, onFallback) {
  const reasons = [];
  for (const name of names) {
    try {
      const place = await PLACES[name](root, artifact);
      if (reasons.length) onFallback?.({ code: `storage_${name}`, reason: `Models are kept in ${WORDS[name]}: ${reasons.join(" ")}` });
      return { name, place };
    } catch (error) {
      if (error.name === "QuotaExceededError") throw quotaExceeded(artifact.size, error);
      if (error instanceof StorageError) throw error;
      reasons.push(`${WORDS[name]} cannot be used (${error.name}: ${error.message}).`);
    }
  }
  throw new StorageUnavailable(`The model cannot be stored. ${reasons.join(" ")} Allow site data for this address, or leave the private window.`, { reasons });
}

const WORDS = { opfs: "the browser's file store", idb: "IndexedDB, which is slower", memory: "this tab's memory, until it is closed" };

function makeWriter(root, record, place, now, every) {
  let unset = [];
  let unsetBytes = 0;
  let last = now();
  const count = chunkCount(record.size, record.chunkSize);
  const save = () => updateKey(artifactKey(root), (old) => ({ ...old, ...record, lastUsed: Math.max(old?.lastUsed ?? 0, record.lastUsed) }));

  async function commit() {
    const [batch] = [unset, (unset = []), (unsetBytes = 0), (last = now())];
    await guard(() => place.flush());
    for (const i of batch) setBit(record.have, i);
    record.complete = missing(record.have, count).length === 0;
    await guard(save);
  }
  async function guard(work) {
    try {
      return await work();
    } catch (error) {
      throw error.name === "QuotaExceededError" ? quotaExceeded(record.size - bytesHeld(record.have, record.chunkSize, record.size), error) : error;
    }
  }
  return {
    record,
    missing: () => missing(record.have, count),
    read: (index) => place.read(index),
    /** A verified chunk. Its bit follows with the next commit. */
    async write(index, bytes) {
      await guard(() => place.write(index, bytes));
      unset.push(index);
      unsetBytes += bytes.length;
      if (unsetBytes >= every.bytes || now() - last >= every.ms) await commit();
    },
    commit,
    /** Chunks that turned out to be damaged. */
    async forget(indices) {
      for (const i of indices) clearBit(record.have, i);
      record.complete = record.complete && indices.length === 0;
      await save();
    },
    close: () => place.close(),
    get empty() { return record.have.every((byte) => byte === 0); },
  };
}

function quotaExceeded(needed, cause) {
  const error = new QuotaExceeded(`The browser refused to store ${needed} more bytes. Free some space (clear cached models or other sites' data) and try again.`, { needed });
  return Object.assign(error, { cause });
}

async function openOpfs(root, { size, chunkSize }) {
  const file = await (await folder()).getFileHandle(root, { create: true });
  const handle = await exclusive(file);
  try {
    const fresh = handle.getSize() !== size;
    if (fresh) handle.truncate(size); // asks for all the room at once
    return {
      fresh,
      write(index, bytes) {
        const written = handle.write(bytes, { at: index * chunkSize });
        if (written !== bytes.length) throw new DOMException(`wrote ${written} of ${bytes.length} bytes`, "QuotaExceededError");
      },
      read(index) {
        const bytes = new Uint8Array(Math.min(chunkSize, size - index * chunkSize));
        return handle.read(bytes, { at: index * chunkSize }) === bytes.length ? bytes : undefined;
      },
      flush: () => handle.flush(),
      close: () => handle.close(),
    };
  } catch (error) {
    handle.close();
    await REMOVERS.opfs(root).catch(() => {});
    throw error;
  }
}

/** A reader in another worker, or the last moments of a killed tab, can hold the file for a while. */
async function exclusive(file, tries = 20) {
  for (;;) {
    try {
      return await file.createSyncAccessHandle();
    } catch (error) {
      if (error.name !== "NoModificationAllowedError") throw error;
      if (--tries <= 0) throw new StorageError("The model's file is open in another tab or worker. Close what uses the model, then try again.", { file: file.name });
      await sleep(100);
    }
  }
}

async function openIdb(root) {
  await readKey(artifactKey(root)); // finds out whether IndexedDB works
  if (memory.refused) throw new DOMException(memory.refused, "SecurityError");
  return {
    fresh: false,
    write: (index, bytes) => writeChunk(root, index, bytes.slice()),
    read: (index) => readKey(chunkKey(root, index)),
    flush() {},
    close() {},
  };
}

async function openMemory(root) {
  const fresh = !memory.chunks.has(root);
  if (fresh) memory.chunks.set(root, []);
  const chunks = /** @type {Uint8Array[]} */ (memory.chunks.get(root));
  return {
    fresh,
    write: (index, bytes) => void (chunks[index] = bytes.slice()),
    read: (index) => chunks[index],
    flush() {},
    close() {},
  };
}

/** Deletes an artifact's bytes and then its record. @param {string} root @param {string} [place] where there is no record yet */
export async function removeArtifact(root, place) {
  const record = await readArtifactRecord(root);
  if (!record && !place) return;
  await REMOVERS[record?.place ?? place](root, record ?? { size: 0, chunkSize: 1 });
  await deleteKey(artifactKey(root));
}

const REMOVERS = {
  opfs: async (root) => (await folder()).removeEntry(root).catch((error) => { if (error.name !== "NotFoundError") throw error; }),
  idb: async (root, { size, chunkSize }) => { for (let i = 0; i < chunkCount(size, chunkSize); i++) await deleteKey(chunkKey(root, i)); },
  memory: (root) => void memory.chunks.delete(root),
};
