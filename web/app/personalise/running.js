/** A course under way or just over: curve, figures, pause and stop, what the model wrote before and after. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { span } from "../format.js";
import { plain } from "../ui/plain.js";
import { lossFigure, lossRows } from "./figure.js";
import { sampleList } from "./samples.js";

const PHASES = { starting: "Getting ready", training: "Learning", paused: "Paused", stopping: "Stopping", closing: "Keeping it, and trying it", done: "Learned", failed: "It did not finish" };
const REASONS = { steps: "", patience: " It ended early: it no longer got better.", cancelled: " Stopped; the best so far is kept." };

export class RunningView {
  #drawing = false;

  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.title = h("h2", { role: "status" });
    this.bar = h("progress", { max: "1", "aria-label": "Steps" });
    this.facts = h("p.facts");
    this.buttons = h("div.actions");
    this.figure = h("div");
    this.rows = h("tbody");
    const heads = ["Step", "Training", "Validation"].map((name) => h("th", { scope: "col" }, name));
    this.table = h("details.numbers", {}, h("summary", {}, "As a table"), h("table", {}, h("thead", {}, h("tr", {}, heads)), this.rows));
    this.notices = h("div");
    this.trouble = h("div.trouble");
    this.samples = h("div");
    const head = h("header", {}, this.title, this.buttons);
    const parts = [head, this.bar, this.facts, this.notices, this.trouble, this.figure, this.table, this.samples];
    this.element = h("section.underway", { "aria-label": "The course" }, parts);
    this.table.addEventListener("toggle", () => this.#tabulate());
    app.course.now.watch(() => this.#soon());
  }

  /** As often as the screen, however fast the steps come. */
  #soon() {
    if (this.#drawing) return;
    this.#drawing = true;
    setTimeout(() => {
      this.#drawing = false;
      this.#draw();
    }, 50);
  }

  #draw() {
    const { now } = this.app.course;
    const { phase, step, of, samples, notices, error, train } = now.value;
    this.element.hidden = phase === "idle";
    if (this.title.textContent !== (PHASES[phase] ?? "")) this.title.textContent = PHASES[phase] ?? "";
    if (of) this.bar.value = phase === "done" ? 1 : step / of;
    else this.bar.removeAttribute("value");
    fill(this.facts, factsOf(now.value));
    this.#controls(phase);
    fill(this.notices, notices.map((notice) => h("p.note", {}, notice)));
    if (!error) fill(this.trouble);
    else if (!this.trouble.childElementCount) fill(this.trouble, plain(error));
    this.figure.hidden = this.table.hidden = !train.length;
    if (train.length) fill(this.figure, lossFigure(now.value));
    this.#tabulate();
    fill(this.samples, sampleList(samples, phase));
  }

  #tabulate() {
    if (this.table.open) fill(this.rows, lossRows(this.app.course.now.value));
  }

  /** Buttons stay in the page while the phase does, so that the focus does. */
  #controls(phase) {
    if (this.buttons.dataset.phase === phase) return;
    const held = this.buttons.contains(document.activeElement);
    this.buttons.dataset.phase = phase;
    const button = ([label, name, run]) => h("button", { type: "button", onclick: () => this.app.attempt(async () => run()) }, icon(name), label);
    fill(this.buttons, CONTROLS[phase]?.(this.app).map(button) ?? []);
    if (held) this.buttons.querySelector("button")?.focus();
  }
}

/** Phase → label, icon, what it does. */
const stop = ({ course }) => ["Stop", "stop", () => course.stop()];
const CONTROLS = {
  starting: (app) => [stop(app)],
  training: (app) => [["Pause", "pause", () => app.course.pause()], stop(app)],
  paused: (app) => [["Go on", "play", () => app.course.resume()], stop(app)],
  done: (app) => [["Use it", "yes", () => use(app)], ["Teach again", "back", () => app.course.clear()]],
  failed: (app) => [["Back", "back", () => app.course.clear()]],
};

/** What was learned, from now on. */
async function use({ adapters, course, toasts }) {
  const { id, name } = course.now.value.adapter;
  await adapters.use(id, 1);
  toasts.say(`\u201c${name}\u201d is on, in Complete and Chat.`);
}

function factsOf({ phase, step, of, tokensPerSecond, etaSeconds, bits, reason }) {
  const going = phase === "training" || phase === "paused";
  const gain = bits && `Bits per byte of what was held back: ${bits.before.toFixed(2)} before, ${bits.after.toFixed(2)} after (${change(bits)}).`;
  return [
    of > 0 && `step ${step.toLocaleString("en")} of ${of.toLocaleString("en")}`,
    going && tokensPerSecond > 0 && `${Math.round(tokensPerSecond).toLocaleString("en")} tokens/s`,
    going && tokensPerSecond > 0 && `${span(etaSeconds)} left`,
    phase === "done" && gain,
  ]
    .filter(Boolean)
    .join(" \u00b7 ")
    .concat(phase === "done" ? (REASONS[reason] ?? "") : "");
}

/** ({before: 2, after: 1.5}) → "25 % fewer". */
export const change = ({ before, after }) => `${Math.abs(100 * (1 - after / before)).toFixed(0)} % ${after <= before ? "fewer" : "more"}`;
