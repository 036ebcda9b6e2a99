/**
 * A field for code with a suggestion in it: a textarea over a layer that shows its text and, after the caret, what could follow. Runs in the page.
 * Whatever it writes goes through the browser's own editing, so Ctrl+Z undoes it.
 */
import { fill, h } from "../dom.js";

const INDENT = "    ";
/** After the caret on its line there may be nothing but brackets and quotes that close. */
const CLOSING = /^[\s)\]}'"`,:;]*$/;

/** Key → what it does to a suggestion; false: the key keeps its own meaning. */
const KEYS = {
  Tab: ({ shiftKey, ctrlKey, altKey, metaKey }, editor) => !(shiftKey || ctrlKey || altKey || metaKey) && editor.accept(),
  ArrowRight: ({ ctrlKey, altKey, shiftKey }, editor) => (ctrlKey || altKey) && !shiftKey && editor.accept(true),
  Escape: (_event, editor) => editor.completer.dismiss(),
  " ": ({ ctrlKey }, editor) => ctrlKey && (editor.ask(), true),
  Enter: ({ shiftKey, ctrlKey, altKey, metaKey }, editor) => !(shiftKey || ctrlKey || altKey || metaKey) && editor.newLine(),
};

export class Editor {
  /** @param {import("./completer.js").Completer} completer @param {(text: string) => void} onChange */
  constructor(completer, onChange) {
    Object.assign(this, { completer, onChange });
    this.ghost = h("span.ghost");
    this.before = h("span");
    this.after = h("span");
    this.layer = h("div.layer", {}, this.before, this.ghost, this.after);
    this.area = h("textarea", {
      id: "code",
      wrap: "off",
      spellcheck: "false",
      autocomplete: "off",
      autocapitalize: "off",
      placeholder: "Write some Python\u2026",
      "aria-label": "Python code",
      "aria-describedby": "codehelp",
      oninput: () => this.#typed(),
      onscroll: () => this.#follow(),
      onblur: () => completer.type(null),
      onfocus: () => this.#moved(),
      onkeydown: (event) => this.#key(event),
    });
    this.said = h("p.unseen", { role: "status", "aria-live": "polite" });
    this.element = h("div.editor", {}, h("div.under", { "aria-hidden": "true" }, this.layer), this.area, this.said);
    document.addEventListener("selectionchange", () => document.activeElement === this.area && this.#moved());
    completer.suggestion.watch((suggestion) => this.#show(suggestion));
  }

  get text() {
    return this.area.value;
  }

  /** Replaces the whole text; nothing is asked. @param {string} text */
  set text(text) {
    this.area.value = text;
    this.area.setSelectionRange(text.length, text.length);
    this.#show(this.completer.suggestion.value);
  }

  focus() {
    this.area.focus();
  }

  ask() {
    this.focus();
    this.#moved();
    this.completer.ask();
  }

  /** @param {boolean} [word] only the first one @returns {boolean} whether there was something to take */
  accept(word) {
    const text = this.completer.take(word);
    if (text) this.insert(text);
    return Boolean(text);
  }

  /** Keeps the indentation, and deepens it after a colon. */
  newLine() {
    const { value, selectionStart } = this.area;
    const line = value.slice(value.lastIndexOf("\n", selectionStart - 1) + 1, selectionStart);
    this.insert(`\n${/^[ \t]*/.exec(line)[0]}${/:\s*(#.*)?$/.test(line) ? INDENT : ""}`);
    return true;
  }

  /** As if it had been typed. @param {string} text */
  insert(text) {
    if (document.execCommand("insertText", false, text)) return; // the only way that is kept in the field's own history
    this.area.setRangeText(text, this.area.selectionStart, this.area.selectionEnd, "end");
    this.#typed();
  }

  #key(event) {
    if (event.isComposing || !Object.hasOwn(KEYS, event.key) || !KEYS[event.key](event, this)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  #typed() {
    this.onChange(this.area.value);
    this.#moved();
    this.#show(this.completer.suggestion.value);
  }

  /** The caret may be elsewhere: what stands before it, where something can follow. */
  #moved() {
    const { value, selectionStart, selectionEnd } = this.area;
    const rest = value.slice(selectionEnd).split("\n", 1)[0];
    this.completer.type(selectionStart === selectionEnd && CLOSING.test(rest) ? value.slice(0, selectionStart) : null);
  }

  /** The layer shows the field's text, for the field's own is transparent; the suggestion stands at the caret. */
  #show({ text, done }) {
    const { value, selectionStart } = this.area;
    const at = text ? selectionStart : value.length;
    fill(this.before, value.slice(0, at));
    fill(this.ghost, text);
    fill(this.after, `${value.slice(at)}\n`);
    this.#follow();
    const told = text && done ? `Suggestion: ${text}` : "";
    if (this.said.textContent !== told) this.said.textContent = told;
  }

  #follow() {
    this.layer.style.transform = `translate(${-this.area.scrollLeft}px, ${-this.area.scrollTop}px)`;
  }
}
