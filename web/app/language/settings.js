/** Settings as one table of fields, and a form made from it. A value that cannot be is marked and not taken. Runs in the page. */
import { h } from "../dom.js";

/**
 * @typedef {{label: string, help: string, kind: "number"|"text"|"switch"|"choice"|"set", min?: number, max?: number, step?: number | "any", empty?: string, options?: Record<string, string>}} Field
 *   `empty`: what an empty box means; such a setting is null then; `options`: value → words, of which one is chosen, or at least one
 */

/** @type {Record<string, Field>} */
export const FIELDS = {
  system: { label: "System prompt", help: "What the model is told before every conversation. Not every model knows this.", kind: "text", empty: "none" },
  temperature: { label: "Temperature", help: "0 takes the likeliest word each time; higher is more varied.", kind: "number", min: 0, max: 5, step: 0.1 },
  topP: { label: "Top P", help: "Draws among the likeliest words that together reach this share.", kind: "number", min: 0, max: 1, step: 0.01 },
  topK: { label: "Top K", help: "Draws among so many of the likeliest; 0 is all.", kind: "number", min: 0, max: 100_000, step: 1 },
  maxTokens: { label: "Longest answer", help: "In tokens; a word has one or two.", kind: "number", min: 1, max: 100_000, step: 1 },
  seed: { label: "Seed", help: "Equal seeds give equal answers.", kind: "number", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, empty: "drawn anew" },
  automatic: { label: "Suggest as I type", help: "Off: Ctrl+Space asks.", kind: "switch" },
};

const CONTROLS = {
  number: ({ min, max, step, empty }, value, take) =>
    h("input", {
      type: "number",
      min,
      max,
      step,
      value: value ?? "",
      required: !empty,
      placeholder: empty,
      inputmode: "decimal",
      oninput: ({ target }) => target.validity.valid && take(target.value === "" ? null : target.valueAsNumber),
    }),
  text: ({ empty }, value, take) => h("textarea", { rows: 3, value: value ?? "", placeholder: empty, oninput: ({ target }) => take(target.value.trim() || null) }),
  choice: ({ options }, value, take) =>
    h(
      "select",
      { onchange: ({ target }) => take(target.value) },
      Object.entries(options).map(([name, words]) => h("option", { value: name, selected: name === value }, words)),
    ),
  set: ({ options }, value, take) => {
    const boxes = Object.entries(options).map(([name, words]) => h("label.check", {}, h("input", { type: "checkbox", name, checked: value.includes(name), onchange: () => chosen() }), words));
    const chosen = () => {
      const names = boxes.map(({ firstChild }) => firstChild).filter(({ checked }) => checked).map(({ name }) => name);
      boxes.forEach(({ firstChild }) => firstChild.setCustomValidity(names.length ? "" : "Choose at least one."));
      if (names.length) take(names);
    };
    return h("div.set", {}, boxes);
  },
  switch: (_field, value, take) => h("input", { type: "checkbox", checked: value, onchange: ({ target }) => take(target.checked) }),
};

/**
 * @param {{value: any, patch: (part: any) => void}} settings an observable; those of its values that have a field are shown, in the fields' order
 * @param {Record<string, Field>} [fields]
 */
export const settingsForm = (settings, fields = FIELDS) =>
  h(
    "div.settings",
    {},
    Object.entries(fields)
      .filter(([name]) => name in settings.value)
      .map(([name, field]) => {
        const take = (value) => settings.patch({ [name]: value });
        const [around, title] = field.kind === "set" ? ["fieldset", "legend"] : ["label", "span"];
        return h(around, { data: { setting: name, kind: field.kind } }, h(title, {}, field.label), CONTROLS[field.kind](field, settings.value[name], take), h("small", {}, field.help));
      }),
  );

/** Settings as kept, on top of those that a first visit has; names that are no more are dropped. @template {object} T @param {T} standard @param {any} kept @returns {T} */
export const withKept = (standard, kept) =>
  /** @type {T} */ (Object.fromEntries(Object.entries(standard).map(([name, value]) => [name, kept && name in kept ? kept[name] : value])));
