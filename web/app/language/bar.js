/** The model bar above Complete and Chat: which model, what it needs, its loading, what went wrong, how it runs. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { bytes } from "../format.js";
import { PHASES } from "../models/view.js";
import { dialog } from "../ui/dialog.js";
import { plain } from "../ui/plain.js";
import { explanation } from "../ui/status.js";
import { factsOf, memoryOf, partOf, runningOf } from "./report.js";
import { adapterPicker } from "./worn.js";

/** @param {any} app @param {{adapters?: boolean}} [options] `adapters`: with a choice of which is on @returns {HTMLElement} */
export function modelBar(app, { adapters = true } = {}) {
  const { language } = app;
  const pick = picker(app);
  const facts = h("p.facts");
  const state = h("div.loadstate", { role: "status" });
  const problem = h("div.trouble");
  const file = h("input", {
    type: "file",
    accept: ".gguf",
    multiple: true,
    hidden: true,
    data: { pick: "gguf" },
    onchange: ({ target }) => {
      const files = [...target.files];
      target.value = "";
      if (files.length) app.giveModel(files);
    },
  });
  const choose = h("button", { type: "button", "aria-label": "Choose a GGUF file", onclick: () => file.click() }, icon("folder"), "GGUF", h("span", {}, "file\u2026"));
  const element = h("section.modelbar", { "aria-label": "Model" }, h("div.line", {}, pick, choose, file, state), facts, adapters && adapterPicker(app), problem);
  const draw = () => {
    const { value: phase } = language.phase;
    fill(facts, language.chosen.value ? factsOf(language.chosen.value).join(" \u00b7 ") : nobody(language));
    fill(state, STATES[phase.name](app, phase));
    fill(problem, phase.name === "failed" && plain(phase.error, again(app, "Try again")));
  };
  const progress = loading(app);
  language.chosen.watch(draw);
  language.phase.watch((phase) => {
    if (phase.name !== "loading") return draw();
    if (!state.contains(progress.element)) {
      draw();
      fill(state, progress.element);
    }
    progress.say(phase);
  });
  return element;
}

const nobody = ({ known, missing }) =>
  missing ? `\u201c${missing}\u201d is a file of yours and is not kept here: choose it again.` : known ? "This site brings no language model. Choose a GGUF file." : "";

const again = (app, label) => h("button.primary", { type: "button", onclick: () => app.language.ready().catch(() => {}) }, label);

/** Phase → what stands beside the picker. */
const STATES = {
  idle: (app) => {
    const choice = app.language.chosen.value;
    return choice && again(app, choice.trust === "signed" ? `Load (${bytes(choice.size)})` : "Load");
  },
  cancelled: (app) => again(app, "Go on loading"),
  failed: () => null,
  loading: () => null,
  ready: (app) => h("button.quiet.running", { type: "button", title: "How it runs here, and why", onclick: () => explain(app) }, h("i.lamp"), `ready \u00b7 ${bytes(memoryOf(app.language.session))}`),
};

function picker({ language }) {
  const select = h("select", { "aria-label": "Model", onchange: ({ target }) => language.choose(target.value) });
  const draw = () => {
    const choices = language.choices.value;
    fill(select, choices.length ? choices.map(({ key, name }) => h("option", { value: key }, name)) : h("option", { value: "" }, "no model yet"));
    select.value = language.chosen.value?.key ?? "";
    select.disabled = !choices.length;
  };
  language.choices.watch(draw);
  language.chosen.watch(draw);
  return select;
}

/** Steps one after another, each with its own share. */
function loading({ language }) {
  const note = h("span.note");
  const bar = h("progress", { max: "100", "aria-label": "Loading the model" });
  const stop = h("button.quiet", { type: "button", "aria-label": "Stop loading", title: "Stop", onclick: () => language.cancel() }, icon("close"));
  return {
    element: h("div.loading", {}, h("div", {}, note, bar), stop),
    say({ step, part }) {
      note.textContent = `${PHASES[step] ?? step}${part ? ` ${partOf(part)}` : "\u2026"}`;
      if (part) bar.value = (100 * part.loaded) / part.total;
      else bar.removeAttribute("value");
    },
  };
}

function explain({ language }) {
  const free = h(
    "button",
    {
      type: "button",
      onclick: () => {
        box.close();
        language.unload();
      },
    },
    "Free its memory",
  );
  const box = dialog("How the model runs here", explanation(runningOf(language)), h("div.actions", {}, free));
}
