/** Which adapter is on, beside the model bar of Complete and Chat: one, or none, and how much of it. Runs in the page. */
import { fill, h } from "../dom.js";

/** @param {any} app @returns {HTMLElement} empty where the model has none */
export function adapterPicker(app) {
  const { adapters: shelf } = app;
  const choose = (id) => id !== SEVERAL && app.attempt(() => shelf.only(id || null));
  const select = h("select", { "aria-label": "Adapter", onchange: ({ target }) => choose(target.value) });
  const share = h("output", {});
  const scale = h("input", {
    type: "range",
    min: 0,
    max: 2,
    step: 0.05,
    "aria-label": "How much of the adapter",
    oninput: ({ target }) => fill(share, target.value),
    onchange: ({ target }) => app.attempt(() => shelf.use(select.value, target.valueAsNumber)),
  });
  const slider = h("span.scale", {}, scale, share);
  const element = h("div.worn", { hidden: true }, h("span.quiet", { "aria-hidden": "true" }, "Adapter"), select, slider);
  const draw = () => {
    const [saved, used] = [shelf.saved.value, shelf.used.value];
    element.hidden = !saved.length;
    const each = saved.map(({ id, name }) => h("option", { value: id }, name));
    fill(select, h("option", { value: "" }, "none"), each, used.length > 1 && h("option", { value: SEVERAL }, `${used.length} together`));
    select.value = used.length > 1 ? SEVERAL : (used[0]?.id ?? "");
    slider.hidden = used.length !== 1;
    scale.value = used[0]?.scale ?? 1;
    fill(share, scale.value);
  };
  shelf.saved.watch(draw);
  shelf.used.watch(draw);
  return element;
}

const SEVERAL = "+";
