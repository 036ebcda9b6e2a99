/**
 * The user's documents: what is there, what waits to be indexed, what was deleted and can come back. Runs in the page (and in Node
 * over any object with Database's methods). It embeds nothing itself; see indexer.js. Emits "change" with {changed: [id], removed: [id]}.
 *
 * A document is saved with its text first (state "waiting"), then its passages, then its vectors batch by batch, and is "ready" last:
 * a tab that dies in between leaves a state from which indexing goes on.
 */
import { DocumentNotFound, EmptyText, InvalidOption, TextTooLarge } from "../../sdk/errors.js";
import { hashText } from "./hash.js";

/**
 * @typedef {{start: number, end: number, hash: string}} Passage offsets in UTF-16 code units
 * @typedef {object} Document
 * @property {string} id
 * @property {string} name
 * @property {"txt"|"md"|"html"} type
 * @property {number} size characters
 * @property {string} hash SHA-256 of the text
 * @property {number} addedAt ms
 * @property {"waiting"|"ready"|"failed"} state
 * @property {Passage[]|null} passages null until split
 * @property {string[]} notes what was said about it: replaced bytes, long paragraphs
 * @property {string} [model] `id@version` that its vectors belong to
 * @property {number} [left] passages without a vector
 * @property {Passage[]|null} [before] passages of the version that was replaced, until its vectors are taken over
 * @property {{code: string, message: string}} [error] why it failed
 * @property {number} [deletedAt] ms; invisible since then, gone at the next start a minute later or after
 */

export const MAX_CHARACTERS = 5_000_000;
const NAME_LIMIT = 400;
/** A deletion younger than this may still be undone, perhaps in another tab. */
export const UNDO_MS = 60_000;
const PURGED = "purged"; // settings row: ids of documents that are gone for good, until teaching has forgotten them

export class Library extends EventTarget {
  /** @param {import("./db.js").Database} db @param {(id: string) => IDBKeyRange} vectorsOf @param {{now?: () => number, newId?: () => string}} [host] */
  constructor(db, vectorsOf, { now = Date.now, newId = () => crypto.randomUUID() } = {}) {
    super();
    Object.assign(this, { db, vectorsOf, now, newId });
    /** @type {Map<string, Document>} */
    this.all = new Map();
  }

  /** Reads the list and clears away what was deleted in an earlier visit; `purged` tells of it until teaching has forgotten it. */
  async open() {
    const gone = [];
    for await (const [id, document] of this.db.entries("documents")) {
      this.all.set(id, document);
      if (document.deletedAt <= this.now() - UNDO_MS) gone.push(id);
    }
    await this.purge(gone);
    return this;
  }

  /** Visible documents, newest first. @returns {Document[]} */
  get documents() {
    return [...this.all.values()]
      .filter((document) => !document.deletedAt)
      .sort((a, b) => b.addedAt - a.addedAt || a.name.localeCompare(b.name));
  }

  /** How many are visible; cheaper than the sorted list. */
  get size() {
    let n = 0;
    for (const { deletedAt } of this.all.values()) n += deletedAt ? 0 : 1;
    return n;
  }

  /** What still has to be indexed, in the order it came. @returns {Document[]} */
  get waiting() {
    return [...this.all.values()].filter((document) => document.state === "waiting" && !document.deletedAt);
  }

  /** @param {string} id @returns {Document} @throws {DocumentNotFound} */
  get(id) {
    const document = this.all.get(id);
    if (!document || document.deletedAt)
      throw new DocumentNotFound("This document is no longer in your library. It was deleted here or in another tab.", { id });
    return document;
  }

  /** The whole text. @param {string} id @throws {DocumentNotFound} */
  async text(id) {
    this.get(id);
    return await this.db.read("texts", id);
  }

  /** Vectors that are there, as first passage → Float32Array n×dim. @param {string} id */
  async vectors(id) {
    const found = new Map();
    for await (const [[, first], vectors] of this.db.entries("vectors", this.vectorsOf(id))) found.set(first, vectors);
    return found;
  }

  /**
   * Saves one new text, or the new version of the document with the same name. An equal text is not saved twice.
   * @param {{name: string, type?: string, text: string, notes?: string[]}} source
   * @returns {Promise<{document: Document, outcome: "added"|"updated"|"same", undo?: () => Promise<void>}>} undo puts an updated document's earlier text back
   * @throws {EmptyText|TextTooLarge}
   */
  async add({ name, type = "txt", text, notes = [] }) {
    checkText(name, text);
    const hash = await hashText(text);
    name = await keptName(name);
    const existing = [...this.all.values()].find((document) => document.name === name && !document.deletedAt);
    if (existing?.hash === hash) return { document: existing, outcome: "same" };
    const base = existing ?? { id: this.newId(), name, addedAt: this.now(), passages: null };
    const document = {
      ...base,
      type,
      size: text.length,
      hash,
      notes,
      state: "waiting",
      passages: null,
      before: existing?.passages ?? null,
    };
    const earlier = existing && (await this.text(existing.id));
    await this.save([document], [{ put: "texts", key: document.id, value: text }]);
    const undo = existing && (() => this.add({ name, type: existing.type, text: earlier, notes: existing.notes }).then(() => {}));
    return { document, outcome: existing ? "updated" : "added", undo };
  }

  /** @param {string} id @param {string} name @throws {InvalidOption} for an empty name */
  async rename(id, name) {
    const clean = name.trim().slice(0, NAME_LIMIT);
    if (!clean) throw new InvalidOption("A document needs a name of at least one character. The old name was kept.", { id });
    this.get(id);
    await this.amend([id], (stored) => ({ document: { ...stored, name: clean } }));
  }

  /** Hides documents at once; `undo` brings them back as they were. @param {string[]} ids @returns {Promise<{count: number, undo: () => Promise<void>}>} */
  async delete(ids) {
    ids.forEach((id) => this.get(id));
    await this.amend(ids, (stored) => ({ document: { ...stored, deletedAt: this.now() } }));
    const undo = async () => void (await this.amend(ids, ({ deletedAt, ...document }) => ({ document })));
    return { count: ids.length, undo };
  }

  /** Ends deleted documents for good, but not those that another tab brought back. @param {string[]} ids */
  async purge(ids) {
    if (!ids.length) return;
    let gone = [];
    const wanted = [["settings", PURGED], ...ids.map((id) => ["documents", id])];
    await this.db.change(wanted, ([earlier = [], ...stored]) => {
      gone = ids.filter((_, i) => !stored[i] || stored[i].deletedAt);
      return [{ put: "settings", key: PURGED, value: [...new Set([...earlier, ...gone])] }, ...gone.flatMap((id) => this.#removal(id))];
    });
    gone.forEach((id) => this.all.delete(id));
    this.tell([], gone);
  }

  #removal(id) {
    return [
      { delete: "documents", key: id },
      { delete: "texts", key: id },
      { delete: "vectors", key: this.vectorsOf(id) },
    ];
  }

  /** Documents that are gone for good and that teaching may still know. @returns {Promise<string[]>} */
  async purged() {
    return (await this.db.read("settings", PURGED)) ?? [];
  }

  /** Teaching knows these no longer. @param {string[]} ids */
  async forgotten(ids) {
    const done = new Set(ids);
    await this.db.change([["settings", PURGED]], ([known = []]) => [
      { put: "settings", key: PURGED, value: known.filter((id) => !done.has(id)) },
    ]);
  }

  /** Tries failed documents again. */
  async retryFailed() {
    const ids = this.documents.filter(({ state }) => state === "failed").map(({ id }) => id);
    const again = await this.amend(ids, ({ error, ...stored }) => (stored.state === "failed" ? { document: { ...stored, state: "waiting" } } : null));
    return again.length;
  }

  /** Marks documents whose vectors are of another model as waiting, keeping texts. @param {string} model */
  async reindexFor(model) {
    const isOther = (document) => document.model && document.model !== model;
    const other = await this.amend(this.documents.filter(isOther).map(({ id }) => id), (stored) =>
      isOther(stored)
        ? {
            document: { ...stored, model: undefined, state: "waiting", passages: null, before: null },
            operations: [{ delete: "vectors", key: this.vectorsOf(stored.id) }],
          }
        : null,
    );
    return other.length;
  }

  /**
   * Changes documents as they are stored now, not as this tab remembers them: read, changed and written in one transaction, then tells.
   * @param {string[]} ids
   * @param {(stored: Document) => {document: Document, operations?: import("./db.js").Operation[]} | null} change null leaves a document as it is
   * @returns {Promise<Document[]>} those that were written
   */
  async amend(ids, change) {
    let changes = [];
    await this.db.change(
      ids.map((id) => ["documents", id]),
      (stored) => {
        changes = stored.filter(Boolean).map(change).filter(Boolean);
        return changes.flatMap(({ document, operations = [] }) => [{ put: "documents", key: document.id, value: document }, ...operations]);
      },
    );
    const documents = changes.map(({ document }) => document);
    this.#take(documents);
    return documents;
  }

  /**
   * Saves whole documents and whatever goes with them in one transaction, then tells.
   * @param {Document[]} documents @param {import("./db.js").Operation[]} [operations]
   */
  async save(documents, operations = []) {
    await this.db.write([...documents.map((value) => ({ put: "documents", key: value.id, value })), ...operations]);
    this.#take(documents);
  }

  #take(documents) {
    if (!documents.length) return;
    documents.forEach((document) => this.all.set(document.id, document));
    const removed = documents.filter((document) => document.deletedAt).map(({ id }) => id);
    this.tell(
      documents.filter((document) => !document.deletedAt).map(({ id }) => id),
      removed,
    );
  }

  /** Takes over what another tab changed. @param {string[]} ids */
  async refresh(ids) {
    const documents = await Promise.all(ids.map((id) => this.db.read("documents", id)));
    documents.forEach((document, i) => (document ? this.all.set(ids[i], document) : this.all.delete(ids[i])));
    const visible = ids.filter((id) => this.all.get(id) && !this.all.get(id).deletedAt);
    this.tell(
      visible,
      ids.filter((id) => !visible.includes(id)),
      true,
    );
  }

  tell(changed, removed, remote = false) {
    this.dispatchEvent(new CustomEvent("change", { detail: { changed, removed, remote } }));
  }
}

/** A longer name keeps its beginning and gets a mark of the whole, so that it is found again and no other path is taken for it. */
async function keptName(name) {
  if (name.length <= NAME_LIMIT) return name;
  const mark = `\u2026${(await hashText(name)).slice(0, 12)}`;
  return name.slice(0, NAME_LIMIT - mark.length) + mark;
}

function checkText(name, text) {
  if (!text.trim()) throw new EmptyText(`"${name}" holds no text, only white space or nothing. It was not added.`, { name });
  if (text.length > MAX_CHARACTERS)
    throw new TextTooLarge(
      `"${name}" has ${text.length.toLocaleString("en")} characters; the limit is ${MAX_CHARACTERS.toLocaleString("en")}. Split it into several files.`,
      { name, size: text.length, limit: MAX_CHARACTERS },
    );
}
