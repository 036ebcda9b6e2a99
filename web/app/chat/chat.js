/**
 * One conversation at a time: asking, the answer as it comes, stop, again, an earlier question changed. Knows no DOM; runs in the page and in Node.
 * A question is saved before it is asked, and an answer that was stopped keeps what there is of it.
 */
import { ContextFull, NoChatTemplate } from "../../sdk/errors.js";
import { toldOf } from "../language/report.js";
import { observable } from "../observable.js";
import { stopped } from "../ui/plain.js";

/** @typedef {import("./conversations.js").Message} Message @typedef {{system: string|null, temperature: number, topP: number, topK: number, maxTokens: number, seed: number|null}} Settings */
/** @typedef {{id: string | null, answering: {id: string, text: string, loading: boolean} | null, error: any}} Now `id`: the conversation shown, null for a new one; `error`: why the last question has no answer */

/** @type {Settings} */
export const STANDARD = { system: null, temperature: 0.7, topP: 0.95, topK: 40, maxTokens: 512, seed: null };

export class Chat {
  /** @type {import("../observable.js").observable<Now>} */ now = observable({ id: null, answering: null, error: null });
  /** @type {import("../observable.js").observable<Settings>} */ settings = observable(STANDARD);
  #controller = null;

  /** @param {import("../language/models.js").LanguageModels} language @param {import("./conversations.js").Conversations} conversations */
  constructor(language, conversations) {
    Object.assign(this, { language, conversations });
  }

  /** @returns {Message[]} of the conversation shown */
  get messages() {
    return this.now.value.id ? (this.conversations.all.get(this.now.value.id)?.messages ?? []) : [];
  }

  /** Shows another conversation, or a new one; an answer under way is stopped and kept as far as it came. @param {string | null} id */
  async show(id) {
    await this.stop();
    this.now.set({ id, answering: null, error: null });
  }

  /** Asks. Resolves when the answer is there, was stopped, or failed: `now` says which. @param {string} text */
  async send(text) {
    const content = text.trim();
    if (!content || this.now.value.answering) return;
    const question = /** @type {Message} */ ({ role: "user", content, at: this.conversations.now() });
    const { id } = this.now.value;
    const conversation = id ? this.conversations.get(id) : this.conversations.begin(question);
    this.now.patch({ id: conversation.id }); // before it is saved, so that the list can show which one it is
    await this.#saved(this.conversations.change(conversation, id ? [...conversation.messages, question] : [question]));
    await this.done;
  }

  /** The answer begins with the saving: whoever asks again, stops or leaves meanwhile finds it under way. @param {Promise<any>} saving */
  async #saved(saving) {
    this.done = this.#answer(saving);
    await saving;
  }

  /** Answers what stands last; an answer that stands there already is replaced. @returns {Promise<(() => Promise<void>) | undefined>} the way back; nothing is changed once another conversation was opened */
  regenerate() {
    const last = this.messages.at(-1);
    return this.#replace(last?.role === "assistant" ? this.messages.slice(0, -1) : this.messages);
  }

  /** An earlier question in other words; what followed it is cut. @param {number} index @param {string} text @returns {Promise<(() => Promise<void>) | undefined>} as of `regenerate` */
  edit(index, text) {
    return this.#replace([...this.messages.slice(0, index), { ...this.messages[index], content: text.trim(), at: this.conversations.now() }]);
  }

  /** Begins the answer and does not wait for it. */
  async #replace(messages) {
    const { id } = this.now.value;
    await this.stop();
    if (this.now.value.id !== id) return; // another was opened first
    const before = this.conversations.get(id);
    await this.#saved(this.conversations.change(before, messages));
    return async () => {
      await this.stop();
      await this.conversations.change(this.conversations.get(id), before.messages);
      this.now.patch({ error: null });
    };
  }

  /** Stops an answer under way and waits until what there is of it was saved. */
  async stop() {
    this.#controller?.abort();
    await this.done;
  }

  /** The answer to what stands last. Never rejects. */
  answer() {
    return (this.done = this.#answer());
  }

  /** @param {Promise<any>} [saving] of what stands last */
  async #answer(saving) {
    const { id } = this.now.value;
    const { signal } = (this.#controller = new AbortController());
    const mine = { id, text: "", loading: !this.language.session };
    this.now.patch({ answering: mine, error: null });
    let error = null;
    try {
      await saving;
      signal.throwIfAborted();
      await this.#stream(mine, signal);
    } catch (found) {
      if (!stopped(found)) error = inWords(found);
      if (mine.text) await this.#keep(mine, { stopped: true }).catch((failed) => (error = failed));
    }
    this.#controller = null;
    this.now.patch({ answering: null, error });
  }

  async #stream(mine, signal) {
    const session = await abortable(this.language.ready(), signal);
    if (!session.info.chat) throw new NoChatTemplate(`"${this.language.chosen.value.name}" goes on with a text and was not made for conversations: its file has no chat template. Use it in the Complete tab, or choose another model here.`);
    const { system, seed, ...options } = this.settings.value;
    const asked = this.conversations.get(mine.id).messages.map(({ role, content }) => ({ role, content }));
    const messages = system ? [{ role: "system", content: system }, ...asked] : asked;
    const stream = session.stream({ messages }, { ...options, ...(seed !== null && { seed }) }, { signal });
    mine.loading = false;
    this.now.patch({ answering: mine });
    for await (const piece of stream) {
      mine.text += piece;
      this.now.patch({ answering: mine });
    }
    const completion = await stream.result;
    await this.#keep(mine, { told: [...toldOf(completion), `seed ${completion.seed}`] });
  }

  async #keep({ id, text }, more) {
    const conversation = this.conversations.get(id);
    const { name } = this.language.chosen.value;
    await this.conversations.change(conversation, [...conversation.messages, { role: "assistant", content: text, at: this.conversations.now(), model: name, ...more }]);
  }
}

/** An error whose own message speaks to programs, in words for a person. */
const inWords = (error) =>
  error?.code === "context_full"
    ? new ContextFull(`This conversation is longer than the model can read in one go. Start a new one, or shorten what you asked. It has ${error.details.tokens} tokens, and the model reads ${error.details.context}.`, error.details)
    : error;

/** Rejects as soon as `signal` fires, while the work may go on. */
function abortable(work, signal) {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    work.then(resolve, reject);
  });
}
