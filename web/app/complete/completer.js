/**
 * Completing as one types: waits for a pause, gives up what was overtaken, keeps a suggestion that the next keys lead along. Knows no DOM; runs in
 * the page and in Node. It asks only a model that is loaded; `ask` loads it.
 */
import { observable } from "../observable.js";
import { stopped } from "../ui/plain.js";

const PAUSE = 70; // ms without a key before the model is asked
const BLANK_LINE = "\n\n";
/** Characters of a text that a token stands for at most, to cut a long text before its tokens are counted. */
const LONGEST = 16;

/** @typedef {{text: string, done: boolean, busy: boolean, told: import("../../sdk/language-session.js").Completion | null, error: any}} Suggestion `text`: what would follow the caret; `told`: of the last one that was finished */
/** @typedef {{temperature: number, maxTokens: number, automatic: boolean}} Settings */

export const STANDARD = { temperature: 0, maxTokens: 48, automatic: true };

export class Completer {
  /** @type {import("../observable.js").observable<Suggestion>} */
  suggestion = observable({ text: "", done: true, busy: false, told: null, error: null });
  /** @type {import("../observable.js").observable<Settings>} */
  settings = observable(STANDARD);
  /** What stands before the caret; null where nothing may be suggested. @type {string | null} */
  #before = null;
  /** The question under way, or the last one. @type {{before: string, text: string, done: boolean, controller: AbortController} | null} */
  #asked = null;
  #timer;

  /** @param {import("../language/models.js").LanguageModels} language @param {{pause?: number}} [options] */
  constructor(language, { pause = PAUSE } = {}) {
    Object.assign(this, { language, pause });
  }

  /** @param {string | null} before what stands before the caret now; null: nothing can follow here */
  type(before) {
    if (before === this.#before) return;
    this.#before = before;
    if (before !== null && this.#leads(before)) return this.#show();
    this.#drop();
    if (this.settings.value.automatic && before?.trim() && this.language.session) this.#timer = setTimeout(() => this.ask(), this.pause);
  }

  /** Asks at once what could follow. Never rejects: the suggestion says what happened. */
  async ask() {
    this.#drop();
    const before = this.#before;
    if (!before?.trim()) return;
    const mine = (this.#asked = { before, text: "", done: false, controller: new AbortController() });
    this.suggestion.patch({ text: "", busy: true, done: false, error: null });
    try {
      await this.#follow(mine);
    } catch (error) {
      if (this.#asked !== mine) return;
      this.#asked = null;
      this.suggestion.patch({ text: "", busy: false, done: true, error: stopped(error) ? null : error });
    }
  }

  /** A space before the caret is left to the model: its tokens begin with the space, so after one it would look for a second. */
  async #follow(mine) {
    const { temperature, maxTokens } = this.settings.value;
    const { signal } = mine.controller;
    const session = await this.language.ready();
    const space = mine.before.endsWith(" ") ? " " : "";
    const { context } = session.info;
    const room = Math.max(context >> 1, context - maxTokens); // an answer set longer than that ends where the context does
    const prompt = await fitting(session, mine.before.slice(0, mine.before.length - space.length), room);
    signal.throwIfAborted();
    const stream = session.stream({ prompt }, { temperature, maxTokens, stopSequences: [BLANK_LINE] }, { signal });
    let answer = "";
    for await (const piece of stream) {
      answer += piece;
      if (!answer.startsWith(space)) break; // nothing goes on from the space that stands there
      const text = answer.slice(space.length);
      mine.text = text.slice(0, repeated(mine.before, text));
      if (this.#asked === mine) this.#show();
    }
    const told = answer.startsWith(space) ? await stream.result : null;
    mine.done = true;
    if (this.#asked !== mine) return;
    if (told) this.suggestion.patch({ told });
    this.#show();
  }

  /** Takes the suggestion, or its first word; the text that is now the user's. @param {boolean} [word] */
  take(word = false) {
    const { text } = this.suggestion.value;
    return word ? (/^\s*(\w+|[^\w\s]+)/.exec(text)?.[0] ?? text) : text;
  }

  /** Puts the suggestion away until the text changes. @returns {boolean} whether there was one */
  dismiss() {
    const had = this.suggestion.value.text !== "" || this.suggestion.value.busy;
    this.#drop();
    return had;
  }

  /** Whether what was asked still goes on from here, or may yet. */
  #leads(now) {
    const asked = this.#asked;
    if (!asked || !now.startsWith(asked.before)) return false;
    const whole = asked.before + asked.text;
    return whole.startsWith(now) && (!asked.done || whole.slice(now.length).trim() !== "");
  }

  #show() {
    const { before, text, done } = this.#asked;
    const rest = (before + text).startsWith(this.#before) ? (before + text).slice(this.#before.length).trimEnd() : "";
    this.suggestion.patch({ text: rest, done, busy: !done });
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#asked?.controller.abort();
    this.#asked = null;
    this.suggestion.patch({ text: "", busy: false, done: true, error: null });
  }
}

/**
 * The end of a text that fits into `room` tokens. It begins where it began a key before for as long as it can (the cut moves in steps of half the
 * room), so that the session finds all but the last few tokens in its cache.
 * @param {{encode: (text: string) => Promise<number[]>, decode: (tokens: number[]) => Promise<string>}} session @param {string} text @param {number} room tokens
 */
export async function fitting(session, text, room) {
  const near = text.slice(cut(text.length, room * LONGEST));
  if (near.length * 3 <= room) return near; // no character of code has more tokens
  const tokens = await session.encode(near);
  const start = cut(tokens.length, room);
  return start ? session.decode(tokens.slice(start)) : near;
}

/** Where a small model begins to say the same few lines again and again; undefined where it does not. @param {string} before @param {string} text */
function repeated(before, text) {
  const line = before.slice(before.lastIndexOf("\n") + 1);
  const found = /(?:^|\n)((?:[^\n]*\S[^\n]*\n){1,4}?)\1/.exec(`${line}${text}`);
  return found ? Math.max(0, found.index + found[0].length - found[1].length - 1 - line.length) : undefined;
}

/** How much to leave out at the beginning: whole steps. */
const cut = (length, room) => {
  const step = Math.max(1, room >> 1);
  return length <= room ? 0 : Math.ceil((length - room) / step) * step;
};
