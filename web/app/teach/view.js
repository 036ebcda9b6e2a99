/** The teaching tab: what was marked, what each mark moved, undo, reset, export and import. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { count, day } from "../format.js";
import { download } from "../library/adding.js";
import { figure } from "./figure.js";

export class TeachView {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.lead = h("p.lead");
    this.list = h("ol.lessons", { "aria-label": "Marks, newest first" });
    this.actions = h("div.actions");
    this.element = h(
      "section.view.teaching",
      { id: "teaching", "aria-label": "Teaching" },
      h("h1", {}, "Teaching"),
      this.lead,
      this.actions,
      this.list,
    );
    app.teacher.state.watch(() => this.draw());
    app.library.addEventListener("change", ({ detail }) => detail.removed.length && this.draw());
  }

  draw() {
    const { marks, unmet = [], adapter } = this.app.teacher.state.value;
    fill(
      this.lead,
      marks.length
        ? `Your search has learned from ${count(marks.length, "mark")}.`
        : "Mark results as relevant or not, and the search learns what you mean by your words. It changes how questions are understood; your notes stay as they are.",
    );
    fill(this.actions, this.#actions(marks.length));
    fill(
      this.list,
      [...marks].reverse().map((mark) => this.#lesson(mark, unmet.includes(mark.n))),
    );
    if (adapter)
      this.lead.append(
        h("span.quiet", {}, ` Adapter of rank ${adapter.rank}, strength ${adapter.norm.toFixed(2)}, saved in this browser.`),
      );
  }

  #actions(some) {
    const file = h("input", {
      type: "file",
      hidden: true,
      "aria-label": "Choose a teaching file",
      data: { pick: "teaching" },
      onchange: ({ target }) => {
        const [chosen] = target.files;
        target.value = "";
        if (chosen) this.#import(chosen);
      },
    });
    return [
      some > 0 && h("button", { type: "button", onclick: () => this.app.undoMark() }, icon("undo"), "Undo the last"),
      some > 0 && h("button", { type: "button", onclick: () => this.#export() }, icon("save"), "Export"),
      h("button", { type: "button", onclick: () => file.click() }, icon("restore"), "Import"),
      file,
      some > 0 && h("button.danger", { type: "button", onclick: () => this.#reset() }, "Forget everything"),
      !some &&
        h(
          "button.primary",
          {
            type: "button",
            onclick: () => {
              this.app.go("search");
              this.app.searchView.focus();
            },
          },
          "Search something to mark",
        ),
    ];
  }

  #lesson(mark, unmet) {
    const story = this.app.teacher.stories[mark.n];
    const name = this.app.library.all.get(mark.id)?.name ?? story?.name ?? "a deleted document";
    return h(
      "li.lesson",
      { data: { n: mark.n } },
      h(
        "header",
        {},
        h(
          `span.verdict.${mark.relevant ? "good" : "bad"}`,
          {},
          icon(mark.relevant ? "yes" : "no"),
          mark.relevant ? "Relevant" : "Not relevant",
        ),
        story && h("span.quiet", {}, day(story.at)),
        h(
          "button.quiet",
          { type: "button", "aria-label": `Undo this mark: ${name} for ${mark.query}`, onclick: () => this.app.undoMark(mark.n) },
          icon("undo"),
          "Undo",
        ),
      ),
      h(
        "p.query",
        {},
        h(
          "button.link",
          {
            type: "button",
            title: "Search this again",
            onclick: () => {
              this.app.go("search");
              this.app.searchView.ask(mark.query);
            },
          },
          `\u201c${mark.query}\u201d`,
        ),
      ),
      h("p.passage", {}, h("strong", {}, name), story && ` ${story.words}\u2026`),
      unmet && h("p.note", {}, "Not met: your other marks pull the other way."),
      story &&
        h(
          "details",
          {},
          h("summary", {}, "What it changed"),
          figure(story.moves, { name: (id) => story.names[id], marked: mark.id, relevant: mark.relevant }),
        ),
    );
  }

  async #export() {
    const data = await this.app.attempt(() => this.app.teacher.export());
    if (data) download(new Blob([data], { type: "application/json" }), `edgenet-teaching-${new Date().toISOString().slice(0, 10)}.json`);
  }

  async #import(file) {
    const { marks } = this.app.teacher.state.value;
    if (
      marks.length &&
      !(await this.app.ask({
        title: "Replace your marks?",
        text: `The file's marks take the place of your ${count(marks.length, "mark")}. Export them first if you may want them back.`,
        yes: "Replace",
        no: "Cancel",
      }))
    )
      return;
    const done = await this.app.attempt(async () => {
      await this.app.teacher.import(new Uint8Array(await file.arrayBuffer()));
      return true;
    });
    if (done) this.app.toasts.say(`Imported ${count(this.app.teacher.state.value.marks.length, "mark")}.`);
  }

  async #reset() {
    const { marks } = this.app.teacher.state.value;
    const before = await this.app.attempt(() => this.app.teacher.export());
    if (
      !(await this.app.ask({
        title: "Forget everything taught?",
        text: `${count(marks.length, "mark")} will be forgotten and the search is as it was before.`,
        yes: "Forget",
        no: "Cancel",
        danger: true,
      }))
    )
      return;
    await this.app.attempt(() => this.app.teacher.reset());
    this.app.searchView.forget();
    this.app.toasts.say("Forgotten.", before && { label: "Undo", run: () => this.app.attempt(() => this.app.teacher.import(before)) });
  }
}
