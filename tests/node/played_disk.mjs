/** A played file store of one folder, with locks and room: what web/loader/made.js asks of a browser. */

/** The played OPFS, locks and room. `full`: no file may grow; `fail`: what a write throws; `refuse`: what asking for the store throws. */
export const disk = { /** @type {Map<string, number[]>} */ files: new Map(), free: 1000, open: new Set(), /** @type {any} */ fail: null, full: false, /** @type {any} */ refuse: null };
export const held = new Set();

const gone = () => { throw new DOMException("no such file", "NotFoundError"); };
const handleOf = (name) => ({
  write(data, { at }) {
    if (disk.fail) throw disk.fail;
    disk.files.get(name)?.splice(at, data.length, ...data);
    return data.length;
  },
  truncate() { if (disk.full) throw new DOMException("full", "QuotaExceededError"); },
  flush() {},
  close: () => disk.open.delete(name),
});
const folder = {
  keys: async function* keys() { yield* [...disk.files.keys()]; },
  async getFileHandle(name, { create = false } = {}) {
    if (create) disk.files.set(name, []);
    else if (!disk.files.has(name)) gone();
    return {
      createSyncAccessHandle: async () => { disk.open.add(name); return handleOf(name); },
      getFile: async () => new File([new Uint8Array(disk.files.get(name) ?? [])], name, { lastModified: 7 }),
    };
  },
  async removeEntry(name) {
    if (disk.open.has(name)) throw new DOMException("it is open", "NoModificationAllowedError");
    if (!disk.files.delete(name)) gone();
  },
};
const storage = {
  async getDirectory() {
    if (disk.refuse) throw disk.refuse;
    return { getDirectoryHandle: async (_name, { create = false }) => (create || disk.files.size ? folder : gone()) };
  },
  estimate: async () => ({ usage: 5000 - disk.free, quota: 5000 }),
};
const locks = {
  query: async () => ({}),
  async request(name, { ifAvailable = false }, work) {
    if (held.has(name) && ifAvailable) return work(null);
    while (held.has(name)) await new Promise(setImmediate);
    held.add(name);
    try {
      return await work({ name });
    } finally {
      held.delete(name);
    }
  },
};

/** An empty one, as this process's browser. */
export function freshDisk() {
  Object.assign(disk, { files: new Map(), free: 1000, open: new Set(), fail: null, full: false, refuse: null });
  held.clear();
  Object.defineProperty(globalThis, "navigator", { value: { storage, locks }, configurable: true });
}
