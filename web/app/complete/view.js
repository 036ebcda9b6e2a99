/** The Complete tab: code, and what could follow it, from the model, as one types. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { modelBar } from "../language/bar.js";
import { toldOf } from "../language/report.js";
import { settingsForm, withKept } from "../language/settings.js";
import { plain } from "../ui/plain.js";
import { STANDARD } from "./completer.js";
import { Editor } from "./editor.js";
import { EXAMPLES } from "./examples.js";

const TEXT = "complete.text", SETTINGS = "complete.settings"; // settings rows
const CALM = 300; // ms without a key before the text is saved

const HELP = [
  ["Tab", "take it"],
  ["Ctrl \u2192", "a word of it"],
  ["Esc", "put it away"],
  ["Ctrl Space", "ask now"],
];

export class CompleteView {
  #due;

  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.editor = new Editor(app.completer, () => this.#changed());
    this.told = h("p.summary", { role: "status" });
    this.examples = h(
      "div.questions",
      {},
      Object.entries(EXAMPLES).map(([name, code]) => h("button.chip", { type: "button", onclick: () => this.#start(code) }, name)),
    );
    const stay = (event) => event.preventDefault(); // a field that loses the focus loses its suggestion
    this.take = h("button.asknow", { type: "button", disabled: true, onpointerdown: stay, onclick: () => this.editor.accept() }, icon("yes"), "Take it");
    this.settings = h("div");
    this.trouble = h("div.trouble");
    this.element = h(
      "section.view.complete",
      { id: "complete", "aria-label": "Complete" },
      modelBar(app),
      this.editor.element,
      h("div.foot", {}, this.told, this.#keys()),
      this.trouble,
      this.examples,
      h("details", {}, h("summary", {}, "Settings"), this.settings),
    );
    app.completer.suggestion.watch((suggestion) => this.#tell(suggestion));
    app.language.phase.watch(({ name }) => {
      this.#tell(app.completer.suggestion.value);
      if (name === "ready" && document.activeElement === this.editor.area) this.editor.ask();
    });
    addEventListener("visibilitychange", () => document.hidden && this.#leave());
  }

  /** What was kept; called once, before the page is shown. */
  async restore() {
    const { chats, completer } = this.app;
    const [text, kept] = await Promise.all([chats.read("settings", TEXT), chats.read("settings", SETTINGS)]);
    completer.settings.set(withKept(STANDARD, kept));
    this.editor.text = sessionStorage.getItem(TEXT) ?? text ?? "";
    this.examples.hidden = this.editor.text !== "";
    fill(this.settings, settingsForm(completer.settings));
    let first = true;
    completer.settings.watch((value) => {
      if (!first) this.app.attempt(() => chats.write([{ put: "settings", key: SETTINGS, value }]));
      first = false;
    });
  }

  opened() {
    this.app.attempt(() => this.app.language.open());
    if (matchMedia("(hover: hover)").matches) requestAnimationFrame(() => this.editor.focus());
  }

  #keys() {
    return h(
      "div.keys",
      { id: "codehelp" },
      HELP.map(([key, what]) => h("span", {}, h("kbd", {}, key), ` ${what}`)),
      h("span.quiet", {}, "Without a suggestion, Tab leaves the field."),
      h("button.asknow", { type: "button", onclick: () => this.editor.ask() }, icon("spark"), "Suggest"),
      this.take,
    );
  }

  #start(code) {
    this.editor.focus();
    this.editor.area.select();
    this.editor.insert(code);
    if (!this.app.language.session) this.app.language.ready().catch(() => {}); // the bar shows it
    this.editor.ask();
  }

  #changed() {
    this.examples.hidden = this.editor.text !== "";
    clearTimeout(this.#due);
    this.#due = setTimeout(() => this.#save(), CALM);
  }

  async #save() {
    clearTimeout(this.#due);
    this.#due = null;
    await this.app.attempt(() => this.app.chats.write([{ put: "settings", key: TEXT, value: this.editor.text }]));
    sessionStorage.removeItem(TEXT);
  }

  /** A page that goes may go before its database has written: what is not saved yet waits where writing is at once. */
  #leave() {
    if (!this.#due) return;
    sessionStorage.setItem(TEXT, this.editor.text);
    this.#save();
  }

  #tell({ busy, text, told, error }) {
    const { name } = this.app.language.phase.value;
    this.take.disabled = !text;
    const words = told ? toldOf(told).join(" \u00b7 ") : busy && !text ? "Thinking\u2026" : name === "ready" ? "Write, and pause for a moment." : "";
    if (this.told.textContent !== words) this.told.textContent = words;
    fill(this.trouble, error && name !== "failed" && plain(error));
  }
}
