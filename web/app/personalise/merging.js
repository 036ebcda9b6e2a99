/** Several adapters made into one: which, how, with what weights. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { dialog } from "../ui/dialog.js";
import { plain, stopped } from "../ui/plain.js";

/** Strategy → what it is called, what it does, what it takes beside the adapters. Those of docs/merging.md. */
export const STRATEGIES = {
  weighted: { label: "Weighted average", help: "Each counts by its share.", takes: ["weights"] },
  average: { label: "Plain average", help: "All count the same.", takes: [] },
  task_arithmetic: { label: "Sum", help: "Each is added by its weight; below 0 it is unlearned.", takes: ["weights"] },
  slerp: { label: "Along the arc (SLERP)", help: "Between two, turning from one to the other.", takes: ["interpolation"], two: true },
  ties: { label: "TIES", help: "Keeps the largest changes where most agree on the sign.", takes: ["weights", "density"] },
  dare_linear: { label: "DARE", help: "Keeps changes by chance, then averages.", takes: ["weights", "density"] },
  dare_ties: { label: "DARE with TIES", help: "By chance, then by sign.", takes: ["weights", "density"] },
};
const NUMBERS = {
  density: { label: "Share that is kept", min: 0.05, max: 1, step: 0.05, value: 0.5 },
  interpolation: { label: "From the first to the second", min: 0, max: 1, step: 0.05, value: 0.5 },
};

/** @param {any} app */
export function mergeDialog(app) {
  const form = new MergeForm(app.adapters.saved.value, async (parts, how) => {
    const { name, metrics } = await app.adapters.merge(parts, how);
    box.close();
    app.toasts.say(`\u201c${name}\u201d was made. Its rank leaves out ${(100 * metrics.merge.error).toFixed(1)} % of the sum.`);
  });
  const box = dialog("Merge adapters", form.element);
  box.addEventListener("close", () => form.stop());
}

class MergeForm {
  /** @type {AbortController | null} */ #controller = null;

  /** @param {import("./shelf.js").Saved[]} saved @param {(parts: {id: string, weight?: number}[], how: object) => Promise<void>} merge */
  constructor(saved, merge) {
    this.merge = merge;
    this.rows = saved.map((one, i) => this.#row(one, i < 2));
    const options = Object.entries(STRATEGIES).map(([value, { label }]) => h("option", { value }, label));
    this.strategy = h("select", { "aria-label": "How", onchange: () => this.#judge() }, options);
    this.help = h("small");
    this.numbers = Object.entries(NUMBERS).map(([name, { label, ...range }]) => {
      const input = h("input", { type: "number", required: true, ...range });
      return { name, input, element: h("label", {}, h("span", {}, label), input) };
    });
    this.said = h("p.note", { role: "status" });
    this.go = h("button.primary", { type: "submit" }, "Merge");
    this.halt = h("button", { type: "button", hidden: true, onclick: () => this.stop() }, icon("stop"), "Stop");
    this.element = this.#form();
    this.#judge();
  }

  #form() {
    const onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    const list = h("ul", {}, this.rows.map(({ element }) => element));
    const how = h("label", {}, h("span", {}, "How"), this.strategy, this.help);
    return h("form.merge", { onsubmit }, list, how, this.numbers.map(({ element }) => element), this.said, h("div.actions", {}, this.go, this.halt));
  }

  /** Also when the dialog is closed. */
  stop() {
    this.#controller?.abort();
  }

  #row({ id, name }, checked) {
    const box = h("input", { type: "checkbox", checked, onchange: () => this.#judge() });
    const weight = h("input", { type: "number", min: -10, max: 10, step: 0.1, value: 1, required: true, "aria-label": `Weight of ${name}` });
    const share = h("label.weight", {}, "Weight", weight);
    return { id, box, weight, share, element: h("li", {}, h("label.check", {}, box, name), share) };
  }

  get #chosen() {
    return this.rows.filter(({ box }) => box.checked);
  }

  /** What there is too little or too much of; "" where it can be merged. */
  get #missing() {
    const count = this.#chosen.length;
    return STRATEGIES[this.strategy.value].two && count !== 2 ? "This takes exactly two." : count < 2 ? "Choose two or more." : "";
  }

  /** What the strategy takes is shown, and whether there are as many as it needs. */
  #judge() {
    const { takes, help } = STRATEGIES[this.strategy.value];
    fill(this.help, help);
    this.numbers.forEach(({ name, input, element }) => (input.disabled = element.hidden = !takes.includes(name))); // what is not shown is not judged
    this.rows.forEach(({ weight, share, box }) => (weight.disabled = share.hidden = !takes.includes("weights") || !box.checked));
    if (this.#controller) return; // what is under way goes on as it was begun, alone
    this.go.disabled = Boolean(this.#missing);
    fill(this.said, this.#missing);
  }

  async #submit() {
    const strategy = this.strategy.value;
    const { takes } = STRATEGIES[strategy];
    const parts = this.#chosen.map(({ id, weight }) => (takes.includes("weights") ? { id, weight: weight.valueAsNumber } : { id }));
    const more = this.numbers.filter(({ name }) => takes.includes(name)).map(({ name, input }) => [name, input.valueAsNumber]);
    const onProgress = ({ phase, loaded, total }) => phase === "merge" && fill(this.said, `Merging: ${loaded} of ${total} matrices`);
    const { signal } = (this.#controller = new AbortController());
    fill(this.said, "Merging\u2026");
    this.#busy(true);
    try {
      await this.merge(parts, { strategy, ...Object.fromEntries(more), signal, onProgress });
    } catch (error) {
      fill(this.said, stopped(error) ? "Stopped. Nothing was made." : plain(error));
    } finally {
      this.#controller = null;
      this.#busy(false);
    }
  }

  /** @param {boolean} busy */
  #busy(busy) {
    this.go.disabled = busy || Boolean(this.#missing);
    this.halt.hidden = !busy;
    (busy ? this.halt : this.go).focus();
  }
}
