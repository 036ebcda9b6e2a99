/**
 * The user's own data in IndexedDB: one connection for each database, whole transactions, named errors. Runs in the page.
 * It knows nothing of what is stored; a write happens whole or not at all. Notes are in `edgenet-user-v1`, conversations in one of their own:
 *
 *   documents  id → {id, name, type, size, hash, addedAt, state, passages, …}      (no text, no vectors: the list must load fast)
 *   texts      id → string
 *   vectors    [id, first passage] → Float32Array, n passages × dim                (one record per finished batch, so a killed tab loses at most a batch)
 *   settings   name → any
 */
import { QuotaExceeded, StorageError, StorageUnavailable } from "../../sdk/errors.js";

export const DATABASE = "edgenet-user-v1";
const STORES = ["documents", "texts", "vectors", "settings"];
/** What Complete and Chat keep: id → conversation, name → any. */
export const CHATS = "edgenet-chat-v1";
export const CHAT_STORES = ["conversations", "settings"];

/** @typedef {{put: string, key: IDBValidKey, value: any} | {delete: string, key: IDBValidKey | IDBKeyRange}} Operation */

/** Every vectors record of one document. @param {string} id */
export const vectorsOf = (id) => IDBKeyRange.bound([id, 0], [id, Number.MAX_SAFE_INTEGER]);

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/**
 * @param {string} [name] @param {string[]} [stores] the same ones each time
 * @returns {Promise<Database>}
 * @throws {StorageUnavailable} where the browser has no IndexedDB for this page (blocked site data)
 */
export async function openDatabase(name = DATABASE, stores = STORES) {
  return new Database(name, stores, await connect(name, stores));
}

async function connect(name, stores) {
  try {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => stores.forEach((store) => request.result.createObjectStore(store));
    const connection = await done(request);
    connection.onversionchange = () => connection.close();
    return connection;
  } catch (error) {
    throw new StorageUnavailable(
      `This browser does not let the page keep data (${error?.message ?? error}). Allow site data for this address, or leave the private window.`,
      { reason: String(error?.name ?? error) },
    );
  }
}

export class Database {
  /** @type {Promise<void> | null} */ #reopening = null;

  /** @param {string} name @param {string[]} stores @param {IDBDatabase} connection */
  constructor(name, stores, connection) {
    Object.assign(this, { name, stores, connection });
  }

  /** A transaction; a connection that the browser closed (Safari does now and then, and clearing storage does) is opened again. */
  async #begin(stores, mode = "readonly", options = {}) {
    try {
      return this.connection.transaction(stores, mode, options);
    } catch (error) {
      if (error.name !== "InvalidStateError") throw error;
      await (this.#reopening ??= this.#reopen().finally(() => (this.#reopening = null)));
      return this.connection.transaction(stores, mode, options);
    }
  }

  async #reopen() {
    this.connection = await connect(this.name, this.stores);
  }

  /** The value under `key`, or undefined. @param {string} store @param {IDBValidKey} key */
  async read(store, key) {
    return done((await this.#begin(store)).objectStore(store).get(key));
  }

  /** Keys and values in key order, read in pages so that a large library does not arrive in one piece. */
  async *entries(store, range = null, page = 200) {
    for (let rest = range, more = true; more;) {
      const objects = (await this.#begin(store)).objectStore(store);
      const [keys, values] = await Promise.all([done(objects.getAllKeys(rest, page)), done(objects.getAll(rest, page))]);
      for (let i = 0; i < keys.length; i++) yield [keys[i], values[i]];
      more = keys.length === page;
      if (more)
        rest = range ? IDBKeyRange.bound(keys.at(-1), range.upper, true, range.upperOpen) : IDBKeyRange.lowerBound(keys.at(-1), true);
    }
  }

  /**
   * All operations in one transaction.
   * @param {Operation[]} operations
   * @throws {QuotaExceeded} when the disk share of this site is full; nothing was written
   */
  async write(operations) {
    const names = [...new Set(operations.map((operation) => operation.put ?? operation.delete))];
    if (!names.length) return;
    const transaction = await this.#begin(names, "readwrite", { durability: "strict" });
    const end = ended(transaction);
    perform(transaction, operations);
    await end;
  }

  /**
   * Reads values and writes what follows from them in one transaction: no tab comes between.
   * @param {[store: string, key: IDBValidKey][]} wanted @param {(values: any[]) => Operation[]} then from values, undefined where there is none; must not await
   * @throws {QuotaExceeded} as `write`
   */
  async change(wanted, then) {
    if (!wanted.length) return;
    const transaction = await this.#begin(this.stores, "readwrite", { durability: "strict" });
    const end = ended(transaction);
    const reads = wanted.map(([store, key]) => done(transaction.objectStore(store).get(key)));
    const written = Promise.all(reads).then((values) => perform(transaction, then(values)));
    written.catch(() => abort(transaction));
    await Promise.all([written, end]).catch((error) => {
      throw error instanceof DOMException ? writeError(error) : error;
    });
  }

  close() {
    this.connection.close();
  }
}

function perform(transaction, operations) {
  for (const { put, delete: from, key, value } of operations) {
    if (put) transaction.objectStore(put).put(value, key);
    else transaction.objectStore(from).delete(key);
  }
}

const ended = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(undefined);
    transaction.onabort = () => reject(writeError(transaction.error));
  });

/** Nothing of it is kept; one that has ended already refuses. */
function abort(transaction) {
  try {
    transaction.abort();
  } catch {} // it had aborted by itself
}

function writeError(error) {
  const reason = String(error?.name ?? "unknown");
  if (reason === "QuotaExceededError")
    return new QuotaExceeded(
      "What you wrote needs more room than this browser gives the page. Nothing of this step was saved. Free disk space, or clear models you do not use in the Models tab.",
      { reason },
    );
  return new StorageError(
    `Saving failed (${error?.message ?? reason}). Nothing of this step was saved. Try again; if it stays, back up and reload.`,
    { reason },
  );
}
