/** The adapters of the chosen model as cards: what each is worth, on or off and how much, name, export, deletion; import and merging. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { bytes, count, day } from "../format.js";
import { download } from "../library/adding.js";
import { keepFocus } from "./focus.js";
import { mergeDialog } from "./merging.js";
import { MODULES } from "./presets.js";
import { change } from "./running.js";
import { wholeDialog } from "./whole.js";

const FORMATS = { peft: "PEFT (zip)", json: "EdgeNet (JSON)", gguf: "GGUF (llama.cpp)" };
const EMPTY =
  "Nothing yet. Teach it something above, or import an adapter that was made for this model: a zip or the files of a PEFT folder, JSON, or GGUF. Drop it here.";
const OTHER_FILE = "It was trained on another file of this model, probably another quantisation: it works, slightly less well.";
const FILES = ".zip,.json,.gguf,.safetensors";

export class AdapterCards {
  /** Whose name is being written: nothing is drawn over it. */ #renaming = "";

  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.list = h("ul.adapters", { "aria-label": "Adapters" });
    this.empty = h("p.quiet.nothing");
    this.merger = h("button", { type: "button", onclick: () => mergeDialog(app) }, icon("plus"), "Merge");
    this.actions = h("div.actions", {}, this.#importer(), this.merger);
    const head = h("header", {}, h("h2", {}, "What it has learned"), this.actions);
    this.element = h("section.shelf", { "aria-label": "Adapters of this model" }, head, this.empty, this.list);
    app.adapters.saved.watch(() => this.#draw());
    app.adapters.used.watch(() => this.#mark());
    app.language.phase.watch(() => this.#draw());
  }

  /** @param {File[]} files of one adapter */
  import(files) {
    return this.app.attempt(async () => {
      const { name } = await this.app.adapters.import(files);
      this.app.persist();
      this.app.toasts.say(`\u201c${name}\u201d is here. Turn it on to use it.`);
    });
  }

  #draw() {
    const { adapters: shelf, language } = this.app;
    if (shelf.get(this.#renaming)) return;
    this.#renaming = ""; // it went with its model
    const saved = shelf.saved.value;
    const loaded = language.phase.value.name === "ready";
    this.empty.hidden = saved.length > 0;
    fill(this.empty, loaded ? EMPTY : "Load the model to see its adapters.");
    this.actions.hidden = !loaded;
    this.merger.hidden = saved.length < 2;
    keepFocus(this.list, () => fill(this.list, saved.map((one) => this.#card(one))), () => this.actions.querySelector("button"));
    this.#mark();
  }

  #importer() {
    const file = h("input", {
      type: "file",
      accept: FILES,
      multiple: true,
      hidden: true,
      "aria-label": "Choose an adapter",
      data: { pick: "adapter" },
      onchange: ({ target }) => {
        const files = [...target.files];
        target.value = "";
        if (files.length) this.import(files);
      },
    });
    return [h("button", { type: "button", onclick: () => file.click() }, icon("restore"), "Import"), file];
  }

  #card(one) {
    const { id, name, metrics, otherFile } = one;
    const title = h("h3", {}, name);
    const tools = h("div.tools", {}, this.#pin(one), tool(`Rename ${name}`, "pen", ({ currentTarget }) => this.#rename(title, one, currentTarget)), tool(`Delete ${name}`, "trash", () => this.#delete(one)));
    return h(
      "li.adapter",
      { data: { id } },
      h("header", {}, title, tools),
      h("p.facts", {}, factsOf(one).join(" \u00b7 ")),
      worthOf(metrics).map((line) => h("p.worth", {}, line)),
      otherFile && h("p.quiet", {}, OTHER_FILE),
      this.#use(one),
      h("div.line", {}, h("span.quiet", {}, "Export as"), Object.keys(FORMATS).map((format) => this.#exporter(one, format)), this.#whole(one)),
    );
  }

  /** Whether it stays loaded once it is. */
  #pin({ id, name, pinned }) {
    const button = tool(`Keep ${name} loaded`, "lock", () => this.app.attempt(() => this.app.adapters.pin(id, !pinned)));
    button.setAttribute("aria-pressed", String(Boolean(pinned)));
    return button;
  }

  /** On or off, and how much of it. */
  #use({ id, name }) {
    const turn = (scale) => this.app.attempt(() => this.app.adapters.use(id, scale)).then(() => this.#mark());
    const share = h("output", {}, "1");
    const scale = h("input", {
      type: "range",
      min: 0,
      max: 2,
      step: 0.05,
      value: 1,
      "aria-label": `How much of ${name}`,
      oninput: ({ target }) => fill(share, target.value),
      onchange: ({ target }) => turn(target.valueAsNumber),
    });
    const on = h("input", { type: "checkbox", onchange: ({ target }) => turn(target.checked ? scale.valueAsNumber : null) });
    return h("div.line", {}, h("label.check", {}, on, "Use it in Complete and Chat"), h("label.scale", {}, "How much", scale, share));
  }

  #exporter({ id, name }, format) {
    const words = FORMATS[format];
    return h("button.link", { type: "button", "aria-label": `Export ${name} as ${words}`, onclick: () => this.#export(id, format) }, words);
  }

  #whole(one) {
    return h("button.link", { type: "button", onclick: () => wholeDialog(this.app, one), "aria-label": `Save ${one.name} as a whole model` }, "Whole model (.gguf)");
  }

  /** What is on, in the cards that stand there. */
  #mark() {
    for (const card of this.list.children) {
      const scale = this.app.adapters.scaleOf(card.dataset.id);
      const [box, slider] = card.querySelectorAll("input[type=checkbox], input[type=range]");
      box.checked = scale !== null;
      slider.disabled = scale === null;
      if (scale !== null) slider.value = scale;
      fill(card.querySelector("output"), slider.value);
      card.classList.toggle("on", scale !== null);
    }
  }

  /** @param {HTMLElement} title @param {import("./shelf.js").Saved} one @param {HTMLElement} button it takes the focus back, unless that was led elsewhere */
  #rename(title, { id, name }, button) {
    let settled = false;
    const settle = (now) => {
      if (settled) return;
      settled = true;
      this.#renaming = "";
      const held = document.activeElement === input;
      fill(title, now.trim() || name);
      if (held) button.focus();
      this.app.attempt(() => this.app.adapters.rename(id, now)).then(() => this.#draw());
    };
    const keys = { Enter: () => settle(input.value), Escape: () => settle(name) };
    const input = h("input", {
      type: "text",
      value: name,
      maxlength: 80,
      "aria-label": "New name",
      onblur: () => settle(input.value),
      onkeydown: (event) => {
        event.stopPropagation();
        if (!keys[event.key]) return;
        event.preventDefault(); // or the same Enter would press the button that has the focus then
        keys[event.key]();
      },
    });
    this.#renaming = id;
    fill(title, input);
    input.select();
    input.focus();
  }

  #delete({ id, name }) {
    return this.app.attempt(async () => {
      const back = await this.app.adapters.delete(id);
      this.app.toasts.say(`\u201c${name}\u201d deleted.`, { label: "Undo", run: () => this.app.attempt(back) });
    });
  }

  #export(id, format) {
    return this.app.attempt(async () => {
      const file = await this.app.adapters.export(id, format);
      download(file, file.name);
    });
  }
}

const tool = (label, name, run) => h("button.quiet", { type: "button", "aria-label": label, title: label.split(" ")[0], onclick: run }, icon(name));

/** @param {import("./shelf.js").Saved} one */
const factsOf = ({ rank, modules, bytes: size, created, profile, signedBy }) =>
  [`rank ${rank}`, modulesOf(modules), bytes(size), created && day(new Date(created).getTime()), profile && "Automatic knows it", signedBy && `signed by ${signedBy}`].filter(Boolean);

/** (["model.layers.0.self_attn.q_proj", …]) → "q, k". @param {string[]} modules */
const modulesOf = (modules) => {
  const names = new Set(modules.map((path) => path.split(".").at(-1).replace(/_proj$/, "")));
  return [...names].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b)).join(", ");
};
const ORDER = Object.keys(MODULES);

/** What it is worth, as far as it was measured. @param {any} metrics @returns {string[]} */
const worthOf = (metrics) =>
  [metrics?.bits && bitsOf(metrics.bits), metrics?.steps > 0 && courseOf(metrics), metrics?.merge && mergeOf(metrics.merge)].filter(Boolean);
const bitsOf = (bits) => `Bits per byte of text it had not seen: ${bits.before.toFixed(2)} before, ${bits.after.toFixed(2)} after (${change(bits)}).`;
const courseOf = ({ steps, lossBefore, lossAfter }) => {
  const losses = Number.isFinite(lossBefore) && Number.isFinite(lossAfter) ? `, loss ${lossBefore.toFixed(2)} to ${lossAfter.toFixed(2)}` : "";
  return `${count(steps, "step")}${losses}.`;
};
const mergeOf = ({ strategy, error }) => {
  const refit = Number.isFinite(error) ? `; the refit leaves out ${(100 * error).toFixed(1)} %` : "";
  return `Merged (${strategy.replaceAll("_", " ")})${refit}.`;
};
