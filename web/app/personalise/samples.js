/** What the model wrote before and after, side by side, with what stood there. Runs in the page. */
import { h } from "../dom.js";

const COLUMNS = { before: "Before", after: "After", truth: "What stood there" };

/** @param {import("./course.js").Sample[]} samples @param {boolean} ended no more of them will come @returns {HTMLElement | null} */
export function sampleList(samples, ended) {
  if (!samples.length) return null;
  return h("section.samples", { "aria-label": "Before and after" }, h("h3", {}, "Before and after"), h("ol", {}, samples.map((sample) => one(sample, ended))));
}

const one = (sample, ended) =>
  h(
    "li",
    {},
    h("pre.prompt", {}, sample.prompt),
    h(
      "div.sides",
      {},
      Object.entries(COLUMNS)
        .filter(([name]) => name !== "truth" || sample.truth)
        .map(([name, label]) => h(`div.${name}`, {}, h("h4", {}, label), written(sample[name], ended ? "\u2013" : WAITING[name]))),
    ),
  );

const WAITING = { before: "Asking\u2026", after: "once it has learned" };

const written = (text, waiting) => (text ? h("pre", {}, text) : h("p.quiet", {}, text === undefined ? waiting : "nothing"));
