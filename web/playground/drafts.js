/** Code by tab, as it was left: kept in this browser, so that a reload or a script that holds the page costs none of it. Page. */

/** The tab of a link's code, which the link keeps. */
export const SHARED = "shared";
const KEY = "edgenet-playground:";

/** @template T @param {(storage: Storage) => T} use @returns {T | null} null where the browser keeps nothing: then it is there for this visit */
function stored(use) {
  try {
    return use(localStorage);
  } catch {
    return null;
  }
}

export class Drafts {
  /** @type {Map<string, string>} */ #here = new Map();

  /** @param {string} id @returns {string | null} */
  get(id) {
    return this.#here.get(id) ?? stored((storage) => storage.getItem(KEY + id));
  }

  /** @param {string} id @param {string} code */
  set(id, code) {
    this.#here.set(id, code);
    if (id !== SHARED) stored((storage) => storage.setItem(KEY + id, code));
  }

  /** @param {string} id */
  delete(id) {
    this.#here.delete(id);
    stored((storage) => storage.removeItem(KEY + id));
  }
}
