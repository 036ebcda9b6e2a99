/** The editor: a text area with numbers beside its lines. Page. Tab and Shift Tab indent; Escape first, and they leave it. */
import { fill, h } from "../app/dom.js";

const INDENT = "    ";

/** @param {{onRun: () => void, onInput: (code: string) => void}} on */
export function editor({ onRun, onInput }) {
  const area = /** @type {HTMLTextAreaElement} */ (h("textarea.code", { wrap: "off", spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-label": "Python code", "aria-describedby": "keys" }));
  const gutter = h("div.gutter", { "aria-hidden": "true" });
  let [marked, leaving] = [0, false];
  const number = () => {
    const count = area.value.split("\n").length;
    fill(gutter, Array.from({ length: count }, (_, i) => h(i + 1 === marked ? "span.wrong" : "span", {}, i + 1)));
    gutter.scrollTop = area.scrollTop;
  };
  const keys = {
    Tab: (/** @type {KeyboardEvent} */ { shiftKey }) => !leaving && indent(area, shiftKey),
    Enter: (/** @type {KeyboardEvent} */ event) => (event.ctrlKey || event.metaKey ? (onRun(), true) : insert(area, `\n${indentOf(area)}`)),
  };
  area.addEventListener("keydown", (event) => {
    if ((event.shiftKey && event.key !== "Tab") || event.altKey || event.isComposing) return;
    if (keys[event.key]?.(event)) event.preventDefault();
    leaving = event.key === "Escape";
  });
  area.addEventListener("input", () => { marked = 0; number(); onInput(area.value); });
  area.addEventListener("scroll", () => { gutter.scrollTop = area.scrollTop; });
  return {
    element: h("div.script", { id: "script", role: "tabpanel", "aria-label": "Code" }, gutter, area),
    get code() { return area.value; },
    set code(text) { area.value = text; marked = 0; number(); area.scrollTop = 0; },
    /** Marks a line; 0: none. @param {number} line */
    mark(line) { marked = line; number(); },
    /** Puts the cursor there. @param {number} line */
    goTo(line) {
      const lines = area.value.split("\n");
      const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
      area.focus();
      area.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
    },
  };
}

/** As typed, so that undo knows it. @param {HTMLTextAreaElement} area @param {string} text */
function insert(area, text) {
  if (!document.execCommand("insertText", false, text)) {
    area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
    area.dispatchEvent(new Event("input"));
  }
  return true;
}

/** A step where the cursor stands, or of all lines that are marked; `back`: one less. @param {HTMLTextAreaElement} area @param {boolean} back */
function indent(area, back) {
  const { value, selectionStart: first, selectionEnd: last } = area;
  if (!back && !value.slice(first, last).includes("\n")) return insert(area, INDENT);
  const from = value.lastIndexOf("\n", first - 1) + 1;
  const end = value.indexOf("\n", Math.max(first, last - 1)); // a line of which only the beginning is reached stays
  const lines = value.slice(from, end < 0 ? value.length : end);
  const changed = back ? lines.replace(/^ {1,4}/gm, "") : lines.replace(/^(?=.)/gm, INDENT);
  if (changed === lines) return true;
  area.setSelectionRange(from, from + lines.length);
  insert(area, changed);
  const caret = Math.max(from, first - lines.length + changed.length);
  area.setSelectionRange(first === last ? caret : from, first === last ? caret : from + changed.length);
  return true;
}

/** Of the line that is being left; one step more after a colon. @param {HTMLTextAreaElement} area */
function indentOf({ value, selectionStart }) {
  const line = value.slice(value.lastIndexOf("\n", selectionStart - 1) + 1, selectionStart);
  return (/^ */.exec(line)?.[0] ?? "") + (/:\s*(#.*)?$/.test(line) ? INDENT : "");
}
