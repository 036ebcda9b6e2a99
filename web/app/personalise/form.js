/** How it learns: a kind, a length, everything else folded away, what it will take, and the start. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { bytes, count, span } from "../format.js";
import { settingsForm } from "../language/settings.js";
import { observable } from "../observable.js";
import { stopped } from "../ui/plain.js";
import { ADVANCED, configOf, COURSES, DEFAULT_COURSE, DEFAULT_PRESET, PRESETS } from "./presets.js";

const CALM = 500; // ms without a change before it is estimated

export class CourseForm {
  #due;
  #asked = 0;

  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.choice = observable({ preset: DEFAULT_PRESET, course: DEFAULT_COURSE });
    this.config = observable(configOf(DEFAULT_PRESET, DEFAULT_COURSE));
    this.name = h("input", { type: "text", maxlength: 80, placeholder: "mine", autocomplete: "off" });
    this.prompts = h("textarea", { rows: 3, placeholder: "One beginning in each line. Left empty: lines of the part that is held back." });
    this.advanced = h("div");
    this.told = h("p.facts.estimate", { role: "status" });
    this.begin = h("button.primary", { type: "submit" }, icon("spark"), "Start");
    this.element = this.#form();
    this.choice.watch(({ preset, course }) => {
      this.config.set(configOf(preset, course));
      fill(this.advanced, settingsForm(this.config, ADVANCED));
    });
    this.config.watch(() => this.#estimate());
    app.material.pieces.watch(() => this.#estimate());
    app.language.phase.watch(() => this.#estimate());
  }

  /** The tab was opened. */
  opened() {
    this.#estimate();
  }

  #form() {
    const form = h(
      "form.course",
      {
        "aria-label": "How it learns",
        onsubmit: (event) => {
          event.preventDefault();
          this.#start();
        },
      },
      h("h2", {}, "How it learns"),
      this.#choices("preset", "What kind of text is it?", PRESETS),
      this.#choices("course", "How long?", COURSES),
      h("details", {}, h("summary", {}, "Settings by hand"), this.advanced),
      h("details", {}, h("summary", {}, "What it is tried with"), h("label", {}, h("span.unseen", {}, "Beginnings to try it with, one in each line"), this.prompts)),
      h("div.begin", {}, h("label", {}, h("span", {}, "Name"), this.name), this.begin, this.told),
    );
    // a folded field could not say what is wrong with it, and Start would do nothing
    form.addEventListener("invalid", ({ target }) => (target.closest("details").open = true), true);
    return form;
  }

  #choices(name, question, table) {
    const one = ([value, { label, help }]) =>
      h(
        "label.choice",
        {},
        h("input", { type: "radio", name, value, checked: value === this.choice.value[name], onchange: () => this.choice.patch({ [name]: value }) }),
        h("span", {}, h("strong", {}, label), h("small", {}, help)),
      );
    const chosen = h("p.note.chosen", { "aria-hidden": "true" }); // where there is no room for the help of each
    this.choice.watch((choice) => fill(chosen, table[choice[name]].help));
    return h(`fieldset.choices.${name}`, {}, h("legend", {}, question), Object.entries(table).map(one), chosen);
  }

  #start() {
    const prompts = this.prompts.value.split("\n").filter((line) => line.trim());
    this.app.persist();
    this.app.course.start(this.config.value, this.app.material, { name: this.name.value.trim() || "mine", prompts });
  }

  /** After a pause, and only with a model that is loaded and texts that are there. */
  #estimate() {
    clearTimeout(this.#due);
    const { material, language, course } = this.app;
    this.begin.disabled = !material.pieces.value.length;
    const missing = !material.pieces.value.length ? "Give it something to learn from first." : !language.session ? "Start loads the model first; load it to see what this will take." : "";
    if (missing || course.busy) return fill(this.told, missing);
    if (this.app.tab !== "personalise") return; // it costs a moment of the model's time
    this.#due = setTimeout(() => this.#ask(), CALM);
  }

  async #ask() {
    const asked = ++this.#asked;
    if (!this.told.textContent) fill(this.told, "Estimating\u2026");
    const words = await this.app.course.estimate(this.config.value, this.app.material).then(inWords, (error) => (stopped(error) ? "" : error.message));
    if (asked === this.#asked) fill(this.told, words);
  }
}

/** @param {{seconds: number, bytes: number, steps: number, tokens: number, passes: number}} told */
const inWords = ({ seconds, bytes: memory, steps, tokens, passes }) =>
  `About ${span(seconds)}, ${count(steps, "step")} and ${bytes(memory)} of memory. ${count(tokens, "token")} of text, read about ${passes < 2 ? passes.toFixed(1) : Math.round(passes)} times.`;
