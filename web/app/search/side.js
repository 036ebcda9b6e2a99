/** What stands beside the results and above them: the keys, what a mark changed, the line that sums up. Runs in the page. */
import { h, icon } from "../dom.js";
import { count } from "../format.js";
import { figure } from "../teach/figure.js";

const KEYS = [
  ["\u2191 \u2193", "move"],
  ["Enter", "open"],
  ["R", "relevant"],
  ["N", "not relevant"],
  ["U", "undo"],
  ["/", "search"],
];

/** Stands where the document will be. */
export function keyHint() {
  const rows = KEYS.map(([key, does]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)));
  const teach = h("p.quiet", {}, "Mark what you meant, and the search learns it.");
  return h("div.hint", {}, h("p", {}, "Open a result to read it here."), teach, h("dl", {}, rows));
}

/**
 * @param {{story: import("../teach/teacher.js").Story, mark: import("../teach/teacher.js").Mark, report: any}} learned
 * @param {{undo: () => void, close: () => void}} does
 * @returns {{panel: HTMLElement, picture: SVGElement, undo: HTMLElement}} the parts too, for a dialog
 */
export function changePanel({ story, mark, report }, does) {
  const picture = figure(story.moves, { name: (id) => story.names[id], marked: mark.id, relevant: mark.relevant });
  const undo = h("button.quiet", { type: "button", onclick: does.undo }, icon("undo"), "Undo");
  const close = h("button.quiet.close", { type: "button", "aria-label": "Hide what changed", onclick: does.close }, icon("close"));
  const header = h("header", {}, h("h2", {}, "What your mark changed"), undo, close);
  const said = report?.message && h("p.quiet", {}, report.message);
  return { panel: h("section.changed", { "aria-label": "What your mark changed" }, header, picture, said), picture, undo };
}

/**
 * The line under the search box, also read out.
 * @param {"empty"|"busy"|"done"|"failed"} state
 * @param {{query: string, ms: number, shown: number, documents: number, waiting: number, name: string, progress: any}} about
 */
export function summary(state, { query, ms, shown, documents, waiting, name, progress }) {
  const rest = waiting ? ` ${count(waiting, "document")} still being read.` : "";
  const started = name === "ready" || name === "idle";
  const texts = {
    empty: documents ? `${count(documents, "document")}.${rest}` : "",
    busy: started ? "Searching\u2026" : `Loading the model\u2026 ${Math.round(progress?.progress ?? 0)}%`,
    done: `${count(shown, "document")} for \u201c${query}\u201d in ${Math.round(ms)} ms.${rest}`,
    failed: "The search did not work.",
  };
  return texts[state];
}
