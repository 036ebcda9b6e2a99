/**
 * The conversations that are kept: list, save, rename, delete with a way back. Knows no DOM; runs in the page, and in Node over any object with
 * Database's methods. Emits "change" with {id}. Tabs tell each other what they saved; of two that write one conversation the later stays.
 */
import { DocumentNotFound, InvalidOption } from "../../sdk/errors.js";

/**
 * @typedef {{role: "user"|"assistant", content: string, at: number, model?: string, told?: string[], stopped?: boolean}} Message `told`: how it was made
 * @typedef {{id: string, title: string, createdAt: number, updatedAt: number, messages: Message[], named?: boolean, deletedAt?: number}} Conversation
 */

const STORE = "conversations";
const TITLE = 60; // characters
/** A deletion younger than this may still be undone, perhaps in another tab. */
const UNDO_MS = 60_000;

export class Conversations extends EventTarget {
  /** @type {Map<string, Conversation>} */ all = new Map();

  /** @param {any} db @param {{now?: () => number, newId?: () => string, channel?: {postMessage: (id: string) => void, onmessage: any} | null}} [host] */
  constructor(db, { now = Date.now, newId = () => crypto.randomUUID(), channel = null } = {}) {
    super();
    Object.assign(this, { db, now, newId, channel });
    if (channel) channel.onmessage = ({ data }) => this.#refresh(data);
  }

  /** Reads all, and ends what was deleted in an earlier visit. */
  async open() {
    const gone = [];
    for await (const [id, conversation] of this.db.entries(STORE)) {
      this.all.set(id, conversation);
      if (conversation.deletedAt <= this.now() - UNDO_MS) gone.push(id);
    }
    await this.purge(gone);
    return this;
  }

  /** Visible ones, the newest first. @returns {Conversation[]} */
  get list() {
    return [...this.all.values()].filter(({ deletedAt }) => !deletedAt).sort((a, b) => b.updatedAt - a.updatedAt);
  }

  /** @param {string} id @throws {DocumentNotFound} */
  get(id) {
    const found = this.all.get(id);
    if (!found || found.deletedAt) throw new DocumentNotFound("This conversation is gone. It was deleted here or in another tab.", { id });
    return found;
  }

  /** A new one with its first question, not saved yet. @param {Message} message @returns {Conversation} */
  begin(message) {
    const at = this.now();
    return { id: this.newId(), title: titleOf(message.content), createdAt: at, updatedAt: at, messages: [message] };
  }

  /** @param {Conversation} conversation @param {Message[]} messages what it holds from now on */
  async change(conversation, messages) {
    const first = messages[0]?.content ?? conversation.title;
    const next = { ...conversation, messages, updatedAt: this.now(), title: conversation.named ? conversation.title : titleOf(first) };
    await this.#save(next);
    return next;
  }

  /** @param {string} id @param {string} title @throws {InvalidOption} for an empty one */
  async rename(id, title) {
    const clean = title.trim().slice(0, TITLE);
    if (!clean) throw new InvalidOption("A conversation needs a name of at least one character. The old name was kept.", { id });
    await this.#save({ ...this.get(id), title: clean, named: true });
  }

  /** Hides one at once; the answer brings it back as it was. @param {string} id @returns {Promise<() => Promise<void>>} */
  async delete(id) {
    const before = this.get(id);
    await this.#save({ ...before, deletedAt: this.now() });
    return () => this.#save(before);
  }

  /** Ends deleted ones for good, but not those that came back. @param {string[]} ids */
  async purge(ids) {
    const gone = ids.filter((id) => this.all.get(id)?.deletedAt);
    await this.db.write(gone.map((key) => ({ delete: STORE, key })));
    gone.forEach((id) => this.all.delete(id));
  }

  async #save(conversation) {
    await this.db.write([{ put: STORE, key: conversation.id, value: conversation }]);
    this.all.set(conversation.id, conversation);
    this.#tell(conversation.id);
    this.channel?.postMessage(conversation.id);
  }

  async #refresh(id) {
    const stored = await this.db.read(STORE, id);
    if (stored) this.all.set(id, stored);
    else this.all.delete(id);
    this.#tell(id);
  }

  #tell(id) {
    this.dispatchEvent(new CustomEvent("change", { detail: { id } }));
  }
}

/** The first words of a question. @param {string} text */
export function titleOf(text) {
  const line = text.trim().replace(/\s+/g, " ");
  if (line.length <= TITLE) return line || "Conversation";
  const short = line.slice(0, TITLE);
  return `${short.slice(0, Math.max(short.lastIndexOf(" "), TITLE / 2))}\u2026`;
}
