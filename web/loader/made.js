/**
 * Files that are made here for the user, too large for memory: in the origin's file store while a page that made one is open. Page, frame and worker.
 *
 *   OPFS edgenet-made-v1/<name>    a file, of which whoever hands it out holds the lock edgenet-made:<name>, and who writes it edgenet-made-open:<name>
 *
 * What nobody holds is of a page that was closed or killed, and goes when the next one starts.
 */
import { EdgeNetError, QuotaExceeded, StorageError, StorageUnavailable } from "../sdk/errors.js";
import { withLock } from "./locks.js";

const FOLDER = "edgenet-made-v1";
const lockOf = (/** @type {string} */ name) => `edgenet-made:${name}`;
const openLockOf = (/** @type {string} */ name) => `edgenet-made-open:${name}`;

/** @param {boolean} [create] @returns {Promise<FileSystemDirectoryHandle>} */
const folder = async (create = false) => (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create });

/** @param {any} error the browser's @param {number} [needed] bytes */
function named(error, needed = 0) {
  if (error instanceof EdgeNetError) return error;
  if (error?.name === "QuotaExceededError") return noRoom(needed);
  const Class = error?.name === "SecurityError" || error instanceof TypeError ? StorageUnavailable : StorageError;
  return new Class(`This browser's file store failed (${error?.message}). Allow the site to store data, leave the private window, or try again.`, { was: error?.name });
}

/** @param {number} needed @param {number} [free] */
const noRoom = (needed, free) => new QuotaExceeded(`The file takes ${needed} bytes, and this browser lets the site keep ${free ?? "no"} more. Remove models or files of the site, or free some of the disk.`, { needed, free });

/** Asked before a byte is made. @param {number} needed @throws QuotaExceeded */
async function requireRoom(needed) {
  const { usage = 0, quota = Infinity } = await navigator.storage.estimate();
  const free = Math.max(0, quota - usage);
  if (needed > free) throw noRoom(needed, free);
}

/** The files that one page hands out. Page and frame. */
export class MadeFiles {
  /** name → lets go of it. @type {Map<string, () => void>} */ #held = new Map();

  /**
   * The file is removed where `work` fails. @template T @param {(name: string) => Promise<T>} work writes the file of this name @returns {Promise<T>}
   */
  async make(work) {
    const name = crypto.randomUUID();
    await sweep().catch(() => {}); // they may take the room that is needed; where there is no file store, writing tells
    this.#held.set(name, await hold(lockOf(name)));
    try {
      return await work(name);
    } catch (error) {
      await this.discard(name);
      throw error;
    }
  }

  /** The file on disk; it is good for as long as it is not discarded. @param {string} name @param {string} as its name for people @returns {Promise<File>} */
  async open(name, as) {
    const file = await (await folder()).getFileHandle(name).then((handle) => handle.getFile()).catch((error) => { throw named(error); });
    return new File([file], as, { type: "application/octet-stream", lastModified: file.lastModified });
  }

  /** @param {string} name @returns {Promise<void>} */
  async discard(name) {
    if (!this.#held.has(name)) return;
    await remove(name).catch((error) => { if (error.name === OPEN) removeClosed(name); });
    this.#held.get(name)?.();
    this.#held.delete(name);
  }

  /** Discards all of them; who closes waits for none. */
  close() {
    for (const name of this.#held.keys()) this.discard(name);
  }
}

/** @param {string} name */
const remove = async (name) => (await folder()).removeEntry(name);

/** A writer that was told to stop may be at its last bytes, and have closed the file before it hears of it. @param {string} name */
const removeClosed = (name) => { withLock(openLockOf(name), {}, () => remove(name)).catch(() => {}); };
/** How a browser refuses to remove such a file. */
const OPEN = "NoModificationAllowedError";

/** Takes a lock until the returned function is called, or who called is gone. @param {string} lock @returns {Promise<() => void>} */
function hold(lock) {
  return new Promise((resolve, reject) => {
    withLock(lock, {}, () => new Promise((release) => { resolve(() => release(undefined)); })).catch(reject);
  });
}

/** Removes what pages left that are gone. A browser that refuses locks refuses files, too: there nothing is found. */
export async function sweep() {
  const kept = await folder();
  for await (const name of /** @type {any} */ (kept).keys()) await withLock(lockOf(name), { ifAvailable: true }, () => kept.removeEntry(name).catch(() => {}));
}

/**
 * A file that is being written, from its beginning on. Worker. When the signal fires it is closed and removed at once, whoever writes it.
 * @param {string} name @param {number} bytes it will have @param {AbortSignal} signal
 * @returns {Promise<{write: (data: Uint8Array) => void, end: () => void, drop: () => Promise<void>}>} @throws QuotaExceeded, StorageUnavailable
 */
export async function writeMade(name, bytes, signal) {
  try {
    await requireRoom(bytes);
    const file = await (await folder(true)).getFileHandle(name, { create: true });
    const release = await hold(openLockOf(name));
    const handle = await /** @type {any} */ (file).createSyncAccessHandle().catch((/** @type {any} */ error) => { release(); throw error; });
    const made = writer(handle, { name, bytes, signal, release });
    try {
      handle.truncate(bytes); // all the room at once: what a browser tells of it is a guess
    } catch (error) {
      await made.drop();
      throw error;
    }
    return made;
  } catch (error) {
    throw named(error, bytes);
  }
}

/** @param {any} handle @param {{name: string, bytes: number, signal: AbortSignal, release: () => void}} file */
function writer(handle, { name, bytes, signal, release }) {
  let [at, open] = [0, true];
  const close = () => {
    if (open) handle.close();
    open = false;
    release();
  };
  const drop = async () => {
    close();
    await remove(name).catch(() => {});
  };
  signal.addEventListener("abort", drop, { once: true });
  const guarded = (/** @type {() => void} */ work) => {
    try {
      signal.throwIfAborted();
      work();
    } catch (error) {
      throw error === signal.reason ? error : named(error, bytes - at);
    }
  };
  return {
    drop,
    write: (/** @type {Uint8Array} */ data) => guarded(() => {
      const written = handle.write(data, { at });
      if (written !== data.length) throw noRoom(bytes - at);
      at += written;
    }),
    end: () => guarded(() => {
      handle.flush();
      close();
      signal.removeEventListener("abort", drop);
    }),
  };
}
