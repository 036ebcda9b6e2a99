/** The Personalise tab: what it learns from, how, the course, and the adapters that came of it. Runs in the page. */
import { fill, h } from "../dom.js";
import { day } from "../format.js";
import { modelBar } from "../language/bar.js";
import { AdapterCards } from "./cards.js";
import { BUSY } from "./course.js";
import { handOver } from "./focus.js";
import { CourseForm } from "./form.js";
import { GivenView } from "./given.js";
import { RunningView } from "./running.js";

const OPEN = new Set(["idle", "failed"]); // phases in which the form stands there

export class PersonaliseView {
  dropWords = ["Drop to learn from", "On the adapters below: an adapter's files"];

  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.given = new GivenView(app);
    this.form = new CourseForm(app);
    this.cards = new AdapterCards(app);
    this.left = h("div.left");
    const running = new RunningView(app);
    const teaching = h("div.teach", {}, this.given.element, this.form.element);
    this.element = h(
      "section.view.personalise",
      { id: "personalise", "aria-label": "Personalise" },
      h("h1", {}, "Personalise"),
      h("p.lead", {}, "Teach a language model from your own texts, here in this tab. What you give, what it learns and what you keep of it never leave this browser."),
      modelBar(app, { adapters: false }),
      this.left,
      running.element, // before the form, which comes back when a course failed: the reason must not stand out of sight below it
      teaching,
      this.cards.element,
    );
    let shown = "";
    app.course.now.watch(({ phase }) => {
      if (phase === shown) return; // many a step comes in a second
      shown = phase;
      handOver(
        () => {
          teaching.hidden = !OPEN.has(phase);
          running.draw();
          this.#unfinished();
        },
        () => (phase === "idle" ? this.given : running).title,
      );
    });
    app.course.unfinished.watch(() => handOver(() => this.#unfinished(), () => this.given.title));
    app.language.phase.watch(({ name }) => name === "ready" && app.course.look());
  }

  opened() {
    this.app.attempt(() => this.app.language.open());
    this.form.opened();
  }

  /** Files dropped on the tab. @param {DragEvent} event @returns {boolean} whether they were taken */
  dropped({ target, dataTransfer }) {
    const files = [...dataTransfer.files];
    const mine = this.cards.element.contains(target);
    if (!files.length || (!mine && files.every(({ name }) => /\.gguf$/i.test(name)))) return false; // a model
    if (mine) this.cards.import(files);
    else this.given.dropped(dataTransfer);
    return true;
  }

  #unfinished() {
    const { course } = this.app;
    const busy = BUSY.has(course.now.value.phase);
    fill(this.left, busy ? [] : course.unfinished.value.map((left) => this.#banner(left)));
  }

  #banner(left) {
    const { name, step, steps, created, state } = left;
    const { course } = this.app;
    const what = state === "done" ? "It is trained and was not kept yet." : `Step ${step} of ${steps}.`;
    return h(
      "div.panel",
      { role: "status" },
      h("p", {}, h("strong", {}, "Unfinished training found: "), `\u201c${name}\u201d, begun ${day(new Date(created).getTime())}. ${what}`),
      h(
        "div.actions",
        {},
        state !== "done" && h("button.primary", { type: "button", onclick: () => course.goOn(left) }, "Go on"),
        (state === "done" || step > 0) && h(state === "done" ? "button.primary" : "button", { type: "button", onclick: () => course.keep(left) }, "Keep it"),
        h("button", { type: "button", onclick: () => this.#forget(left) }, "Forget it"),
      ),
    );
  }

  /** At once out of sight, and gone with the message that can bring it back. */
  #forget(left) {
    const { course, toasts, attempt } = this.app;
    course.hide(left.id);
    toasts.say(`\u201c${left.name}\u201d is forgotten.`, { label: "Undo", run: () => course.hide(left.id, false) }, () => attempt(() => course.forget(left)));
  }
}
