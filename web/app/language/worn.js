/** Which adapter is on, beside the model bar of Complete and Chat: one, and how much of it; none; or the one that fits what is asked. Runs in the page. */
import { fill, h } from "../dom.js";
import { AUTO } from "../personalise/shelf.js";

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
  const hint = h("span.quiet", {}, "the one that was taught something like what is asked");
  const element = h("div.worn", { hidden: true }, h("span.quiet", { "aria-hidden": "true" }, "Adapter"), select, slider, hint);
  const draw = () => {
    const [saved, used, automatic] = [shelf.saved.value, shelf.used.value, shelf.automatic.value];
    element.hidden = !saved.length;
    const each = saved.map(({ id, name }) => h("option", { value: id }, name));
    const auto = h("option", { value: AUTO, disabled: !shelf.described }, shelf.described ? "Automatic" : "Automatic (none of these was taught here)");
    fill(select, h("option", { value: "" }, "none"), auto, each, used.length > 1 && h("option", { value: SEVERAL }, `${used.length} together`));
    select.value = automatic ? AUTO : used.length > 1 ? SEVERAL : (used[0]?.id ?? "");
    hint.hidden = !automatic;
    slider.hidden = used.length !== 1;
    scale.value = used[0]?.scale ?? 1;
    fill(share, scale.value);
  };
  shelf.saved.watch(draw);
  shelf.used.watch(draw); // told after `automatic`
  return element;
}

const SEVERAL = "+";
