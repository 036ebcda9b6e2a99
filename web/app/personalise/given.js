/** What it learns from: the ways in, the files with their sizes, and what was refused. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { bytes, count } from "../format.js";
import { listed, walk } from "../library/files.js";

const LONG = 24; // files that are listed at once

export class GivenView {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.list = h("ul.documents", { "aria-label": "Files to learn from" });
    this.sum = h("p.facts", { role: "status" });
    this.refused = h("div.skipped");
    this.element = h("section.given", { "aria-label": "What it learns from" }, h("h2", {}, "What it learns from"), this.#ways(), this.sum, this.list, this.refused);
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
    return h(
      "div.drop",
      {},
      icon("folder"),
      h("p", {}, h("strong", {}, "Drop files or a folder here")),
      h("p.quiet", {}, "Texts, Markdown, code, HTML; .jsonl with {\u201cinput\u201d, \u201coutput\u201d} in each line."),
      h(
        "div.actions",
        {},
        h("button", { type: "button", onclick: () => files.click() }, "Choose files"),
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
    fill(
      this.list,
      pieces.slice(0, LONG).map((piece) => this.#row(piece)),
      pieces.length > LONG && h("li.more", {}, `and ${count(pieces.length - LONG, "more file")}`),
    );
  }

  #row({ name, size, notes }) {
    const remove = () =>
      this.app.attempt(async () => {
        const back = await this.app.material.remove(name);
        this.app.toasts.say(`${name} will not be learned.`, { label: "Undo", run: () => this.app.attempt(back) });
      });
    return h(
      "li.document",
      { data: { name } },
      icon("file"),
      h("div.what", {}, h("span.name", {}, name), h("p.facts", {}, bytes(size)), notes.map((note) => h("p.note", {}, note))),
      h("div.tools", {}, h("button.quiet", { type: "button", "aria-label": `Remove ${name}`, title: "Remove", onclick: remove }, icon("trash"))),
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
      h("button", { type: "button", onclick: () => this.app.material.refused.set([]) }, "Put this away"),
    );
  }
}
