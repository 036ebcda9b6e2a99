/** What it learns from: the ways in, the files with their sizes, and what was refused. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { bytes, count } from "../format.js";
import { listed, walk } from "../library/files.js";
import { handOver, keepFocus } from "./focus.js";

const LONG = 24; // files that are listed at once

export class GivenView {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.list = h("ul.documents", { "aria-label": "Files to learn from" });
    this.sum = h("p.facts", { role: "status" });
    this.clear = h("button.link", { type: "button", onclick: () => this.#remove(...this.app.material.pieces.value.map(({ name }) => name)) }, "Remove all");
    this.refused = h("div.skipped");
    this.title = h("h2", {}, "What it learns from");
    const sum = h("div.sum", {}, this.sum, this.clear);
    this.element = h("section.given", { "aria-label": "What it learns from" }, this.title, this.#ways(), sum, this.list, this.refused);
    app.material.pieces.watch(() => this.#draw());
    app.material.refused.watch((refused) => fill(this.refused, refused.length > 0 && this.#refusals(refused)));
  }

  /** @param {DataTransfer} transfer */
  dropped(transfer) {
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean); // must be asked before the event ends
    return this.add(entries.length ? walk(entries) : listed([...transfer.files]));
  }

  /** @param {AsyncIterable<{file: File, name: string}>} files */
  add(files) {
    return this.app.attempt(() => this.app.material.add(files));
  }

  #ways() {
    const pick = (name, more) =>
      h("input", {
        type: "file",
        multiple: true,
        hidden: true,
        "aria-label": "Choose files to learn from",
        data: { pick: name },
        ...more,
        onchange: ({ target }) => {
          const files = [...target.files];
          target.value = "";
          this.add(listed(files));
        },
      });
    const files = pick("material"), folder = pick("material-folder", { webkitdirectory: true });
    this.choose = h("button", { type: "button", onclick: () => files.click() }, "Choose files");
    return h(
      "div.drop",
      {},
      icon("folder"),
      h("p", {}, h("strong", {}, "Drop files or a folder here")),
      h("p.quiet", {}, "Texts, Markdown, code, HTML; .jsonl with {\u201cinput\u201d, \u201coutput\u201d} in each line."),
      h(
        "div.actions",
        {},
        this.choose,
        h("button", { type: "button", onclick: () => folder.click() }, "Choose a folder"),
      ),
      files,
      folder,
    );
  }

  #draw() {
    const pieces = this.app.material.pieces.value;
    const pairs = pieces.flatMap(({ examples }) => examples).filter((one) => typeof one !== "string").length;
    fill(this.sum, pieces.length > 0 && [`${count(pieces.length, "file")}, ${bytes(this.app.material.bytes)}`, pairs && count(pairs, "pair")].filter(Boolean).join(", "));
    this.list.hidden = !pieces.length;
    this.clear.hidden = pieces.length < 2;
    const rows = () => [pieces.slice(0, LONG).map((piece) => this.#row(piece)), pieces.length > LONG && h("li.more", {}, `and ${count(pieces.length - LONG, "more file")}`)];
    keepFocus(this.list, () => fill(this.list, rows()), () => this.choose);
  }

  #remove(...names) {
    return this.app.attempt(async () => {
      const held = document.activeElement === this.clear;
      const back = await this.app.material.remove(...names);
      if (held) this.choose.focus(); // that button went with the files
      const what = names.length > 1 ? count(names.length, "file") : `\u201c${names[0]}\u201d`;
      this.app.toasts.say(`${what} will not be learned.`, { label: "Undo", run: () => this.app.attempt(back) });
    });
  }

  #row({ name, size, notes }) {
    return h(
      "li.document",
      { data: { name } },
      icon("file"),
      h("div.what", {}, h("span.name", {}, name), h("p.facts", {}, bytes(size)), notes.map((note) => h("p.note", {}, note))),
      h("div.tools", {}, h("button.quiet", { type: "button", "aria-label": `Remove ${name}`, title: "Remove", onclick: () => this.#remove(name) }, icon("trash"))),
    );
  }

  #refusals(refused) {
    return h(
      "div.panel",
      { role: "alert" },
      h("strong", {}, `${count(refused.length, "file")} left out`),
      h(
        "ul",
        {},
        refused.map(({ message }) => h("li", {}, message)),
      ),
      h("button", { type: "button", onclick: () => handOver(() => this.app.material.refused.set([]), () => this.title) }, "Put this away"),
    );
  }
}
