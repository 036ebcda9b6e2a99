/** What the model wrote before and after, side by side, with what stood there. Runs in the page. */
import { h } from "../dom.js";

const COLUMNS = { before: "Before", after: "After", truth: "What stood there" };

/** @param {import("./course.js").Sample[]} samples @param {string} phase @returns {HTMLElement | null} */
export function sampleList(samples, phase) {
  if (!samples.length) return null;
  return h("section.samples", { "aria-label": "Before and after" }, h("h3", {}, "Before and after"), h("ol", {}, samples.map((sample) => one(sample, phase))));
}

const one = (sample, phase) =>
  h(
    "li",
    {},
    h("pre.prompt", {}, sample.prompt),
    h(
      "div.sides",
      {},
      Object.entries(COLUMNS)
        .filter(([name]) => name !== "truth" || sample.truth)
        .map(([name, label]) => h(`div.${name}`, {}, h("h4", {}, label), written(sample[name], WAITING[name]?.(phase)))),
    ),
  );

const WAITING = { before: (phase) => phase === "starting" && "Asking\u2026", after: (phase) => phase !== "done" && phase !== "failed" && "once it has learned" };

const written = (text, waiting) => (text ? h("pre", {}, text) : h("p.quiet", {}, text === undefined ? waiting || "\u2013" : "nothing"));
