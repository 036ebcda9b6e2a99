/**
 * Model bytes at rest: reading, and the index of what is there. Runs in the page, any worker and the service worker.
 * It never fetches and never writes model bytes (that is artifact.js, in the loader worker only), and never hashes: what the index
 * calls complete was verified before its bits were set.
 */
import { del, get, getMany, keys, set, update } from "idb-keyval";
import { NotCached, StorageError } from "../sdk/errors.js";
import { durableStore, failedToOpen } from "./durable.js";
import { askMemory, memory } from "./memory.js";

export const FOLDER = "edgenet-v1";
const INDEX = { database: "edgenet-v1", store: "models" };

/**
 * @typedef {object} ArtifactRecord
 * @property {number} size bytes
 * @property {number} chunkSize bytes
 * @property {Uint8Array} have bitset, one bit per verified chunk
 * @property {boolean} complete
 * @property {number} lastUsed milliseconds since 1970
 * @property {"opfs" | "idb" | "memory"} place where its bytes are
 */

const durable = durableStore(INDEX.database, INDEX.store);
/** Chunks need no flush of their own: the marks that follow them are flushed, and with them all that came before. */
const relaxed = durableStore(INDEX.database, INDEX.store, "relaxed");
/**
 * Where storage is refused (blocked site data, opaque origins, no IndexedDB) every key lives in the loader worker's memory instead, for good.
 * An error in a database that could be opened passes: it is said, and what is on disk stays in use.
 */
async function withIndex(inIndexedDb, inMemory) {
  if (!memory.refused) {
    try {
      return await inIndexedDb(durable);
    } catch (error) {
      if (!isRefusal(error)) throw named(error);
      memory.refused = `${error.name}: ${error.message}`;
    }
  }
  return inMemory();
}

const isRefusal = (/** @type {any} */ error) => error.name === "SecurityError" || (failedToOpen(error) && error.name !== "QuotaExceededError");

/** A full disk keeps the browser's name, by which callers know it; what is not the browser's passes as it is. @param {any} error */
function named(error) {
  if (!(error instanceof DOMException) || error.name === "QuotaExceededError") return error;
  return new StorageError(`The browser's database failed (${error.name}: ${error.message}). Nothing of this step was saved. Try again; if it stays, restart the browser.`, { reason: error.name });
}

export const readKey = (/** @type {string} */ key) => withIndex((store) => get(key, store), async () => memory.index.get(key) ?? (await askMemory({ key })));
export const writeKey = (/** @type {string} */ key, value) => withIndex((store) => set(key, value, store), () => void memory.index.set(key, value));
/** One chunk where IndexedDB holds the bytes. */
export const writeChunk = (/** @type {string} */ root, /** @type {number} */ i, /** @type {Uint8Array} */ bytes) => set(chunkKey(root, i), bytes, relaxed);
export const deleteKey = (/** @type {string} */ key) => withIndex((store) => del(key, store), () => void memory.index.delete(key));

/** Reads, changes and writes in one transaction. @param {string} key @param {(old: any) => any} change */
export const updateKey = (key, change) => withIndex((store) => update(key, change, store), () => void memory.index.set(key, change(memory.index.get(key))));

/** @param {string} prefix @returns {Promise<[string, any][]>} [rest of the key, value] */
export async function listKeys(prefix) {
  const all = await withIndex((store) => keys(store), () => [...memory.index.keys()]);
  const wanted = all.map(String).filter((key) => key.startsWith(prefix));
  const values = await withIndex((store) => getMany(wanted, store), () => wanted.map((key) => memory.index.get(key)));
  return wanted.map((key, i) => [key.slice(prefix.length), values[i]]);
}

export const artifactKey = (/** @type {string} */ root) => `artifact:${root}`;
export const modelKey = (/** @type {string} */ id, /** @type {string} */ version) => `model:${id}@${version}`;
/** The store is the whole origin's: which tab runs which build of the site in this folder. @param {URL} base the site's root */
export const shellKey = (base) => `shell:${base.pathname}`;
/** A document of one site, by its absolute address: sites in other folders of the origin have their own. */
export const documentKey = (/** @type {"trust" | "revocations" | "index"} */ kind, /** @type {string} */ url) => `${kind}:${url}`;
/** @returns {Promise<ArtifactRecord | undefined>} */
export const readArtifactRecord = (/** @type {string} */ root) => readKey(artifactKey(root));

/** The OPFS folder of model bytes. @returns {Promise<FileSystemDirectoryHandle>} */
export async function folder() {
  return (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
}

/**
 * @typedef {object} ArtifactReader
 * @property {number} size bytes
 * @property {(offset: number, length: number) => Promise<Uint8Array>} read a copy of `length` bytes
 * @property {(offset: number, view: Uint8Array) => Promise<void>} into fills `view`, shared memory too; without a copy between where the browser can
 * @property {() => Promise<ArrayBuffer>} readAll the whole file
 * @property {() => ReadableStream<Uint8Array>} stream
 * @property {() => void} close frees the file; reading again opens it again
 */

/** place → (root, record) → {read(offset, length) → Uint8Array, close, and perhaps into(offset, view)}. */
const READERS = { opfs: opfsReader, idb: idbReader, memory: memoryReader };

/**
 * A reader of one complete artifact, or of the verified chunks of one that is still coming when `partial`.
 * @param {string} root merkleRoot, hex
 * @param {{partial?: boolean}} [options]
 * @returns {Promise<ArtifactReader>}
 * @throws {NotCached} not there, not complete, or its file is gone
 */
export async function openArtifact(root, { partial = false } = {}) {
  const record = await readArtifactRecord(root);
  if (!record || !(record.complete || partial)) {
    throw new NotCached(`Artifact ${root.slice(0, 12)}… is ${record ? "not complete" : "not"} in this browser's storage. Pull the model first.`, { root });
  }
  /** @type {{read: Function, close: () => void, into?: Function}} */
  const { read, close, into = async (offset, view) => view.set(await read(offset, view.length)) } = await READERS[record.place](root, record);
  return {
    size: record.size,
    read: checked(read, record.size, (length) => length),
    into: checked(into, record.size, (view) => view.length),
    async readAll() {
      try {
        return (await read(0, record.size)).buffer;
      } finally {
        close(); // whoever has all bytes needs the file no longer
      }
    },
    stream: () => streamOf(read, record.size),
    close,
  };
}

/** Whether all of an artifact is there, its file included. @param {string} root */
export async function isPresent(root) {
  try {
    (await openArtifact(root)).close();
    return true;
  } catch (error) {
    if (error instanceof NotCached) return false;
    throw error;
  }
}

function checked(read, size, lengthOf) {
  return async (offset, wanted) => {
    const length = lengthOf(wanted);
    if (!(offset >= 0 && length >= 0 && offset + length <= size)) throw new RangeError(`Asked for ${length} bytes at ${offset} of a file of ${size}.`);
    return read(offset, wanted);
  };
}

/** 1 MiB pieces: pulled, so a slow reader holds no more than one. */
function streamOf(read, size, piece = 1 << 20) {
  let offset = 0;
  return new ReadableStream({
    async pull(controller) {
      if (offset >= size) return controller.close();
      const bytes = await read(offset, Math.min(piece, size - offset));
      offset += bytes.length;
      controller.enqueue(bytes);
    },
  });
}

async function opfsReader(root, record) {
  let file;
  try {
    file = await (await folder()).getFileHandle(root);
    if ((await file.getFile()).size !== record.size) throw new DOMException("its length differs", "NotFoundError");
  } catch (error) {
    if (error.name !== "NotFoundError") throw error;
    throw new NotCached(`Artifact ${root.slice(0, 12)}… is in the index but its file is gone: the browser cleared storage. Pull the model again.`, { root });
  }
  return (await syncReader(file)) ?? { read: async (offset, length) => new Uint8Array(await (await file.getFile()).slice(offset, offset + length).arrayBuffer()), close() {} };
}

/**
 * Shared (read-only) sync access handles are the fast way, 5 to 10 times that of a Blob. Null where they are missing (service worker,
 * page) or exclusive only (Firefox, Safari: it would lock other tabs out), or where a writer holds the file.
 */
async function syncReader(file) {
  if (!file.createSyncAccessHandle) return null;
  const open = async () => {
    const handle = await file.createSyncAccessHandle({ mode: "read-only" });
    if (handle.mode === "read-only") return handle;
    handle.close();
    throw new DOMException("exclusive handles only", "NotSupportedError");
  };
  let handle;
  try {
    handle = await open();
  } catch {
    return null;
  }
  async function into(offset, view) {
    handle ??= await open();
    const found = handle.read(view, { at: offset });
    if (found !== view.length) throw new NotCached(`Artifact ${file.name.slice(0, 12)}… ends after ${found} of ${view.length} bytes at ${offset}: the browser cleared storage. Pull the model again.`, { root: file.name });
  }
  return {
    into,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      await into(offset, bytes);
      return bytes;
    },
    close() {
      handle?.close();
      handle = null;
    },
  };
}

/** IndexedDB holds one value per chunk: `chunk:<root>:<number>` → Uint8Array. */
export const chunkKey = (/** @type {string} */ root, /** @type {number} */ i) => `chunk:${root}:${i}`;

function idbReader(root, record) {
  return chunkwise(record, (i) => readKey(chunkKey(root, i)), root);
}

function memoryReader(root, record) {
  return chunkwise(record, async (i) => memory.chunks.get(root)?.[i] ?? (await askMemory({ root, chunk: i })), root);
}

function chunkwise({ chunkSize }, load, root) {
  let last = { i: -1, bytes: undefined }; // who reads on from where a read ended finds that chunk here
  async function read(offset, length) {
    const out = new Uint8Array(length);
    for (let i = Math.floor(offset / chunkSize); i * chunkSize < offset + length; i++) {
      const bytes = i === last.i ? last.bytes : await load(i);
      last = { i, bytes };
      if (!bytes) throw new NotCached(`Chunk ${i} of artifact ${root.slice(0, 12)}… is gone: the browser cleared storage. Pull the model again.`, { root });
      const start = Math.max(offset, i * chunkSize);
      out.set(bytes.subarray(start - i * chunkSize, offset + length - i * chunkSize), start - offset);
    }
    return out;
  }
  return { read, close() {} };
}
