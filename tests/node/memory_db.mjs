/** Database's face over Maps, with structured clones and whole transactions, for tests of the library outside a browser. */
import { StorageError } from "../../web/sdk/errors.js";

export const vectorsOf = (id) => ({ id });

const inRange = (key, range) => !range || (Array.isArray(key) && key[0] === range.id);
const name = (key) => JSON.stringify(key);

export class MemoryDatabase {
  constructor() {
    this.stores = {};
    this.writes = 0;
    /** Set to a number: that many transactions succeed, then the "tab" is dead. */
    this.dieAfter = Infinity;
  }
  store(store) {
    return (this.stores[store] ??= new Map());
  }
  async read(store, key) {
    return structuredClone(this.store(store).get(name(key)));
  }
  async *entries(store, range = null) {
    const found = [...this.store(store)]
      .map(([key, value]) => [JSON.parse(key), structuredClone(value)])
      .filter(([key]) => inRange(key, range));
    yield* found.sort(([a], [b]) => (Array.isArray(a) ? a[1] - b[1] : a < b ? -1 : 1));
  }
  async change(wanted, then) {
    await this.write(then(wanted.map(([store, key]) => structuredClone(this.store(store).get(name(key)))))); // nothing comes between
  }
  async write(operations) {
    if (this.writes >= this.dieAfter) throw new StorageError("the tab was killed");
    this.writes++;
    for (const { put, delete: from, key, value } of operations) {
      if (put) this.store(put).set(name(key), structuredClone(value));
      else
        for (const found of [...this.store(from).keys()])
          if (found === name(key) || (key?.id && inRange(JSON.parse(found), key))) this.store(from).delete(found);
    }
  }
}
