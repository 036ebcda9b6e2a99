/** As much of IndexedDB as the stores use, for Node: databases of maps, transactions that end by themselves, and switches that break it. */

const request = (work, transaction = null) => {
  const asked = /** @type {any} */ ({});
  if (transaction) transaction.open++;
  setImmediate(() => {
    try {
      asked.result = work();
      asked.onsuccess?.();
    } catch (error) {
      asked.error = error;
      asked.onerror?.();
    }
    if (transaction && !--transaction.open) setImmediate(() => transaction.open || transaction.oncomplete?.());
  });
  return asked;
};

class PlayedStore {
  constructor(map, transaction, idb) {
    Object.assign(this, { map, transaction, idb });
  }
  #ask(work) {
    return request(() => {
      const { fail } = this.idb;
      this.idb.fail = null;
      if (fail) throw fail;
      return work();
    }, this.transaction);
  }
  get = (key) => this.#ask(() => structuredClone(this.map.get(key)));
  getAllKeys = () => this.#ask(() => [...this.map.keys()]);
  getAll = () => this.#ask(() => [...this.map.values()].map((value) => structuredClone(value)));
  put(value, key) {
    if (this.idb.failPut) throw this.idb.failPut;
    return this.#ask(() => void this.map.set(key, structuredClone(value)));
  }
  delete = (key) => this.#ask(() => void this.map.delete(key));
}

export class PlayedIndexedDB {
  /** @type {Map<string, Map<string, Map<any, any>>>} */ databases = new Map();
  /** @type {any[]} */ connections = [];
  /** Thrown by every open. @type {Error | null} */ refuse = null;
  /** Thrown by every put. @type {Error | null} */ failPut = null;
  /** Thrown by the next read or write alone. @type {Error | null} */ fail = null;

  open(name) {
    const asked = request(() => {
      if (this.refuse) throw this.refuse;
      const stores = this.databases.get(name) ?? new Map();
      const connection = { closed: false, createObjectStore: (store) => stores.set(store, new Map()), close() { this.closed = true; },
        transaction: (names) => this.#transaction(connection, stores, names) };
      asked.result = connection;
      if (!this.databases.has(name)) asked.onupgradeneeded?.();
      this.databases.set(name, stores);
      this.connections.push(connection);
      return connection;
    });
    return asked;
  }

  #transaction(connection, stores, names) {
    if (connection.closed) throw new DOMException("The database connection is closing.", "InvalidStateError");
    const transaction = { open: 0, objectStore: (name) => new PlayedStore(stores.get(name), transaction, this), abort() { transaction.onabort?.(); } };
    [names].flat().forEach((name) => { if (!stores.has(name)) throw new DOMException(`no store ${name}`, "NotFoundError"); });
    return transaction;
  }
}
