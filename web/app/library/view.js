/** The library tab: add, what was left out and why, the documents with rename and delete, backup. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { count } from "../format.js";
import { row } from "./row.js";

const PAGE = 200; // rows drawn at once; a library of 5,000 stays quick

export class LibraryView {
  #limit = PAGE;
  #due = null;

  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.skipped = h("div.skipped");
    this.count = h("h2", {}, "Documents");
    this.filter = h("input.filter", {
      type: "search",
      placeholder: "Filter by name",
      "aria-label": "Filter documents by name",
      oninput: () => {
        this.#limit = PAGE;
        this.draw();
      },
    });
    this.rows = h("ul.documents", { "aria-label": "Documents" });
    this.wait = h("div.waiting");
    this.element = h(
      "section.view.library",
      { id: "library", "aria-label": "Library" },
      h("h1", {}, "Library"),
      this.#ways(),
      this.wait,
      this.skipped,
      h("header.bar", {}, this.count, this.filter),
      this.rows,
      this.#backup(),
    );
    app.library.addEventListener("change", () => this.#soon());
    app.skipped.watch((list) => this.#showSkipped(list));
    app.worklist.state.watch(() => this.#showWaiting());
    this.draw();
  }

  #ways() {
    const files = h("input", {
      type: "file",
      multiple: true,
      hidden: true,
      "aria-label": "Choose files",
      data: { pick: "files" },
      onchange: ({ target }) => this.#take(target),
    });
    const folder = h("input", {
      type: "file",
      webkitdirectory: true,
      hidden: true,
      "aria-label": "Choose a folder",
      data: { pick: "folder" },
      onchange: ({ target }) => this.#take(target),
    });
    const name = h("input", {
      type: "text",
      name: "name",
      placeholder: "Title (optional)",
      "aria-label": "Title of the pasted text",
      maxlength: "200",
      autocomplete: "off",
    });
    const text = h("textarea", { name: "text", rows: "4", placeholder: "Paste or write something\u2026", "aria-label": "Text to add" });
    const form = h(
      "form.paste",
      {
        onsubmit: async (event) => {
          event.preventDefault();
          const given = [name.value, text.value];
          form.reset(); // at once: what is written while this is taken is the next one's
          if ((await this.app.adding.paste(...given)) || name.value || text.value) return;
          [name.value, text.value] = given;
        },
      },
      name,
      text,
      h("button.primary", { type: "submit" }, "Add text"),
    );
    return h(
      "div.ways",
      {},
      h(
        "div.drop",
        {},
        icon("folder"),
        h("p", {}, h("strong", {}, "Drop files or folders anywhere")),
        h("p.quiet", {}, "Text, Markdown and HTML. They are read here and stay here."),
        h(
          "div.actions",
          {},
          h("button", { type: "button", onclick: () => files.click() }, "Choose files"),
          h("button", { type: "button", onclick: () => folder.click() }, "Choose a folder"),
        ),
        files,
        folder,
      ),
      form,
    );
  }

  #take(input) {
    const files = [...input.files];
    input.value = "";
    if (files.length) this.app.adding.chosen(files);
  }

  #showSkipped(list) {
    if (!list.length) return fill(this.skipped);
    const close = h("button.quiet", { type: "button", onclick: () => this.app.skipped.set([]) }, "Hide");
    fill(
      this.skipped,
      h(
        "details.panel",
        { open: "" },
        h("summary", {}, `${count(list.length, "file")} left out, and why`),
        h(
          "ul",
          {},
          list.slice(0, 100).map(({ message }) => h("li", {}, message)),
        ),
        list.length > 100 && h("p.quiet", {}, `and ${list.length - 100} more`),
        close,
      ),
    );
  }

  #showWaiting() {
    const { state } = this.app.worklist.state.value;
    const waiting = this.app.library.waiting.length;
    const stopped = waiting > 0 && (state === "paused" || state === "failed" || state === "idle");
    const failed = this.app.library.documents.filter((document) => document.state === "failed").length;
    fill(
      this.wait,
      stopped &&
        h(
          "div.panel",
          {},
          h("span", {}, `${count(waiting, "document")} not read yet. They cannot be found until then.`),
          h("button.primary", { type: "button", onclick: () => this.app.worklist.start() }, "Read them now"),
        ),
      failed > 0 &&
        h(
          "div.panel.problem",
          {},
          h("span", {}, `${count(failed, "document")} could not be read.`),
          h("button", { type: "button", onclick: () => this.app.library.retryFailed().then(() => this.app.worklist.start()) }, "Try again"),
        ),
    );
  }

  /** At most five times a second while thousands arrive. */
  #soon() {
    this.#due ??= setTimeout(() => {
      this.#due = null;
      this.draw();
      this.#showWaiting();
    }, 200);
  }

  draw() {
    if (this.rows.contains(document.activeElement) && document.activeElement.matches("input")) return; // a name is being written
    const wanted = this.filter.value.trim().toLowerCase();
    const all = this.app.library.documents;
    const shown = all.filter(({ name }) => name.toLowerCase().includes(wanted));
    this.count.textContent = all.length ? `${count(all.length, "document")}` : "Documents";
    this.filter.hidden = all.length < 8;
    const more =
      shown.length > this.#limit &&
      h(
        "li.more",
        {},
        h(
          "button",
          {
            type: "button",
            onclick: () => {
              this.#limit += PAGE;
              this.draw();
            },
          },
          `Show more (${(shown.length - this.#limit).toLocaleString("en")} left)`,
        ),
      );
    fill(
      this.rows,
      shown.length
        ? shown.slice(0, this.#limit).map((document) => row(document, this.#does(document)))
        : h("li.nothing", {}, this.#nothing(wanted)),
      more,
    );
  }

  #nothing(wanted) {
    if (wanted) return h("p", {}, `No document is called \u201c${wanted}\u201d.`);
    return h(
      "p",
      {},
      "Nothing here yet. Drop some notes, or ",
      h("button.link", { type: "button", onclick: () => this.app.addSamples() }, "try the sample notes"),
      ".",
    );
  }

  #does({ id }) {
    const { app } = this;
    return {
      open: () => {
        app.go("search");
        app.searchView.openDocument(id);
      },
      rename: (name) =>
        app.library
          .rename(id, name)
          .catch((error) => app.toasts.error(error))
          .then(() => this.draw()),
      remove: () => app.deleteDocuments([id]),
    };
  }

  #backup() {
    const file = h("input", {
      type: "file",
      accept: ".json,application/json",
      hidden: true,
      "aria-label": "Choose a backup",
      data: { pick: "backup" },
      onchange: ({ target }) => {
        const [chosen] = target.files;
        target.value = "";
        if (chosen) this.app.adding.restore(chosen);
      },
    });
    return h(
      "section.backup",
      {},
      h("h2", {}, "Backup"),
      h(
        "p.quiet",
        {},
        "One file with your documents, what was computed from them, and what you taught. Restoring only adds; it never overwrites.",
      ),
      h(
        "div.actions",
        {},
        h("button", { type: "button", onclick: () => this.app.adding.backup() }, icon("save"), "Save a backup"),
        h("button", { type: "button", onclick: () => file.click() }, icon("restore"), "Restore from a file"),
        file,
        h("button.danger", { type: "button", onclick: () => this.app.deleteAll() }, icon("trash"), "Delete all documents"),
      ),
    );
  }
}
