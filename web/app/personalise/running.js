/** A course under way or just over: curve, figures, pause and stop, what the model wrote before and after. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { span } from "../format.js";
import { partOf } from "../language/report.js";
import { PHASES as LOADING } from "../models/view.js";
import { plain } from "../ui/plain.js";
import { lossFigure, lossRows } from "./figure.js";
import { sampleList } from "./samples.js";

const PHASES = { starting: "Getting ready", training: "Learning", paused: "Paused", stopping: "Stopping", closing: "Keeping it, and trying it", done: "Learned", failed: "It did not finish" };
const REASONS = { steps: "", patience: " It ended early: it no longer got better.", cancelled: " Stopped; the best so far is kept." };

/** What is done with the texts before the first step; it tells its share. */
const OWN = { prepare: "Reading your texts", evaluate: "Measuring the model as it is" };
const ENDED = new Set(["done", "failed"]);
const PARTS = 4; // of a course; after each it is said aloud how far it is

export class RunningView {
  #drawing = false;
  #shown = {};

  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.title = h("h2", { tabindex: -1 });
    this.told = h("p.unseen", { role: "status" });
    this.bar = h("progress", { max: "1", "aria-label": "Steps" });
    this.facts = h("p.facts");
    this.buttons = h("div.actions");
    this.figure = h("div");
    this.rows = h("tbody");
    const heads = ["Step", "Training", "Validation"].map((name) => h("th", { scope: "col" }, name));
    this.table = h("details.numbers", {}, h("summary", {}, "As a table"), h("table", {}, h("thead", {}, h("tr", {}, heads)), this.rows));
    this.notices = h("div.notices");
    this.trouble = h("div.trouble");
    this.samples = h("div");
    const head = h("header", {}, this.title, this.buttons);
    const parts = [head, this.told, this.bar, this.facts, this.trouble, this.figure, this.table, this.samples, this.notices]; // what comes while it learns is last, so that nothing jumps
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
      this.draw();
    }, 50);
  }

  draw() {
    const { now } = this.app.course;
    const { phase, name, progress, step, of, samples, notices, error, train } = now.value;
    this.element.hidden = phase === "idle";
    say(this.title, [PHASES[phase], name].filter(Boolean).join(" \u00b7 "));
    say(this.told, aloud(now.value));
    if (of) this.bar.value = phase === "done" ? 1 : step / of;
    else if (OWN[progress?.phase]) this.bar.value = progress.progress / 100;
    else this.bar.removeAttribute("value");
    fill(this.facts, factsOf(now.value));
    this.#controls(phase);
    fill(this.notices, notices.map((notice) => h("p.note", {}, notice)));
    if (!error) fill(this.trouble);
    else if (!this.trouble.childElementCount) fill(this.trouble, plain(error, ...(error.code === "disposed" ? [again(this.app)] : [])));
    this.figure.hidden = this.table.hidden = Boolean(error) && !train.length; // else its place is kept from the start
    fill(this.figure, lossFigure(now.value));
    this.#tabulate();
    this.#compare(samples, ENDED.has(phase));
  }

  /** Only what changed: what somebody marks or scrolls in them while it learns stays so. */
  #compare(samples, ended) {
    if (this.#shown.samples === samples && this.#shown.ended === ended) return;
    this.#shown = { samples, ended };
    fill(this.samples, sampleList(samples, ended));
  }

  #tabulate() {
    if (this.table.open) fill(this.rows, lossRows(this.app.course.now.value));
  }

  /** Buttons stay in the page while the phase does, so that the focus does. */
  #controls(phase) {
    if (this.buttons.dataset.phase === phase) return;
    const held = this.buttons.contains(document.activeElement);
    this.buttons.dataset.phase = phase;
    const button = ([label, name, run, look = "button"]) => h(look, { type: "button", onclick: () => this.app.attempt(async () => run()) }, icon(name), label);
    fill(this.buttons, CONTROLS[phase]?.(this.app).map(button) ?? []);
    if (held) (this.buttons.querySelector("button") ?? this.title).focus();
  }
}

/** What has changed alone is written, so that it is read out once. */
const say = (element, words) => element.textContent === words || (element.textContent = words);

/** For those who hear the page: what it does, and now and then how far it is. @param {import("./course.js").Now} now */
function aloud({ phase, step, of }) {
  const part = Math.floor((PARTS * step) / of);
  return phase === "training" && part > 0 ? `${PHASES[phase]}: ${part} of ${PARTS} parts done.` : (PHASES[phase] ?? "");
}

/** Phase → label, icon, what it does, how it looks. */
const stop = ({ course }) => ["Stop", "stop", () => course.stop()];
const CONTROLS = {
  starting: (app) => [stop(app)],
  training: (app) => [["Pause", "pause", () => app.course.pause()], stop(app)],
  paused: (app) => [["Go on", "play", () => app.course.resume()], stop(app)],
  done: (app) => [["Use it", "yes", () => use(app), "button.primary"], ["Teach again", "back", () => app.course.clear()]],
  failed: (app) => [...saved(app.course), ["Back", "back", () => app.course.clear()]],
};

/** Of a course whose loss is no number any more: going on would end there again, but what was good last is there. */
const saved = (course) => (course.now.value.error?.details?.kept > 0 ? [["Keep it as it was", "yes", () => course.keep(course.now.value), "button.primary"]] : []);

/** Of a model that was freed or changed meanwhile; once it is here, what was saved is offered. */
const again = (app) => h("button.primary", { type: "button", onclick: () => app.attempt(() => app.language.ready()) }, "Load it, to go on");

/** What was learned, from now on. */
async function use(app) {
  const { id } = app.course.now.value.adapter;
  await app.adapters.use(id, 1);
  app.toasts.say(`\u201c${app.adapters.get(id)?.name}\u201d is on, in Complete and Chat.`, { label: "Try it", run: () => app.go(app.language.session?.info.chat ? "chat" : "complete") });
}

function factsOf({ phase, progress, step, of, tokensPerSecond, etaSeconds, bits, reason }) {
  const going = phase === "training" || phase === "paused";
  const gain = bits && `Bits per byte of what was held back: ${bits.before.toFixed(2)} before, ${bits.after.toFixed(2)} after (${change(bits)}).`;
  return [
    phase === "starting" && doing(progress),
    of > 0 && `step ${step.toLocaleString("en")} of ${of.toLocaleString("en")}`,
    going && tokensPerSecond > 0 && `${Math.round(tokensPerSecond).toLocaleString("en")} tokens/s`,
    going && tokensPerSecond > 0 && `${span(etaSeconds)} left`,
    phase === "done" && gain,
  ]
    .filter(Boolean)
    .join(" \u00b7 ")
    .concat(phase === "done" ? (REASONS[reason] ?? "") : "");
}

/** What is done before the first step. @param {any} progress */
function doing(progress) {
  if (progress?.status !== "progress") return "Trying the model as it is, to compare later";
  const { phase } = progress;
  return OWN[phase] ? `${OWN[phase]}, ${Math.round(progress.progress)} %` : `${LOADING[phase] ?? "Loading"} ${partOf(progress)}`;
}

/** ({before: 2, after: 1.5}) → "25 % fewer". */
export const change = ({ before, after }) => `${Math.abs(100 * (1 - after / before)).toFixed(0)} % ${after <= before ? "fewer" : "more"}`;
