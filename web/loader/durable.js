/**
 * A store for idb-keyval whose writes are on disk when their promise resolves. Runs anywhere.
 * Browsers' default durability, "relaxed", loses the last writes when the browser is killed, though it told of their success.
 */

/** Errors of opening, which tell that this browser gives no database at all. @type {WeakSet<object>} */
const atOpening = new WeakSet();

/** Whether an error came from opening the database, not from work in it. @param {any} error */
export const failedToOpen = (error) => atOpening.has(error);

/**
 * @param {string} database @param {string} store its only object store
 * @param {"strict" | "relaxed"} [durability]
 * @returns {(mode: IDBTransactionMode, use: (store: IDBObjectStore) => any) => Promise<any>} what idb-keyval takes as its store
 */
export function durableStore(database, store, durability = "strict") {
  /** @type {Promise<IDBDatabase> | undefined} */
  let opened;
  const gone = () => { opened = undefined; };
  const open = () => (opened ??= openDatabase(database, store, gone).catch((error) => {
    gone();
    atOpening.add(error);
    throw error;
  }));
  const begin = async (mode) => (await open()).transaction(store, mode, { durability }).objectStore(store);
  return async (mode, use) => {
    try {
      return use(await begin(mode));
    } catch (error) {
      if (error.name !== "InvalidStateError") throw error;
      opened = undefined; // closed meanwhile: storage was cleared, or the browser let it go
      return use(await begin(mode));
    }
  };
}

/** Safari closes connections now and then: `onGone` lets the next call open it again. */
function openDatabase(database, store, onGone) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(database);
    request.onupgradeneeded = () => request.result.createObjectStore(store);
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      request.result.onclose = onGone;
      resolve(request.result);
    };
  });
}
