/** Several adapters made into one: which, how, with what weights. Runs in the page. */
import { fill, h } from "../dom.js";
import { dialog } from "../ui/dialog.js";
import { plain } from "../ui/plain.js";

/** Strategy → what it is called, what it does, what it takes beside the adapters. Those of docs/merging.md. */
export const STRATEGIES = {
  weighted: { label: "Weighted average", help: "Each counts by its share.", takes: ["weights"] },
  average: { label: "Plain average", help: "All count the same.", takes: [] },
  task_arithmetic: { label: "Sum", help: "Each is added by its weight; below 0 it is unlearned.", takes: ["weights"], signed: true },
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
  const saved = app.adapters.saved.value;
  const rows = saved.map(({ id, name }, i) => {
    const box = h("input", { type: "checkbox", checked: i < 2, onchange: () => judge() });
    const weight = h("input", { type: "number", min: -10, max: 10, step: 0.1, value: 1, required: true, "aria-label": `Weight of ${name}` });
    return { id, box, weight, element: h("li", {}, h("label.check", {}, box, name), weight) };
  });
  const strategy = h("select", { "aria-label": "How", onchange: () => judge() }, Object.entries(STRATEGIES).map(([value, { label }]) => h("option", { value }, label)));
  const help = h("small");
  const numbers = Object.entries(NUMBERS).map(([name, { label, ...range }]) => ({ name, input: h("input", { type: "number", required: true, ...range }), label }));
  const fields = numbers.map(({ label, input }) => h("label", {}, h("span", {}, label), input));
  const said = h("p.note", { role: "status" });
  const go = h("button.primary", { type: "submit" }, "Merge");
  const chosen = () => rows.filter(({ box }) => box.checked);
  const judge = () => {
    const { takes, two, help: words } = STRATEGIES[strategy.value];
    fill(help, words);
    fields.forEach((field, i) => (field.hidden = !takes.includes(numbers[i].name)));
    rows.forEach(({ weight, box }) => (weight.hidden = !takes.includes("weights") || !box.checked));
    const count = chosen().length;
    go.disabled = two ? count !== 2 : count < 2;
    fill(said, two && count !== 2 ? "This takes exactly two." : count < 2 ? "Choose two or more." : "");
  };
  const form = h("form.merge", { onsubmit: (event) => (event.preventDefault(), merge()) }, h("ul", {}, rows.map(({ element }) => element)), h("label", {}, h("span", {}, "How"), strategy, help), fields, said, h("div.actions", {}, go));
  const merge = async () => {
    const { takes } = STRATEGIES[strategy.value];
    const parts = chosen().map(({ id, weight }) => (takes.includes("weights") ? { id, weight: weight.valueAsNumber } : { id }));
    const more = Object.fromEntries(numbers.filter(({ name }) => takes.includes(name)).map(({ name, input }) => [name, input.valueAsNumber]));
    go.disabled = true;
    fill(said, "Merging\u2026");
    try {
      const { name, metrics } = await app.adapters.merge(parts, { strategy: strategy.value, ...more });
      box.close();
      app.toasts.say(`\u201c${name}\u201d was made.${Number.isFinite(metrics?.merge?.error) ? ` Its rank leaves out ${(100 * metrics.merge.error).toFixed(1)} % of the sum.` : ""}`);
    } catch (error) {
      go.disabled = false;
      fill(said, plain(error));
    }
  };
  const box = dialog("Merge adapters", form);
  judge();
}
