/** What a script shows: its text as it comes, charts by name, and how it ended. Page. */
import { fill, h } from "../app/dom.js";

const MOST_TEXT = 200_000; // characters: a script that prints for ever must not fill the tab
const SCREEN = 16; // ms

/** @param {{goTo: (line: number) => void}} on */
export function output({ goTo }) {
  const log = h("div.log", { role: "log", "aria-label": "Output", tabindex: "0" });
  const charts = new Map();
  let [shown, last] = [0, /** @type {HTMLElement | null} */ (null)];
  /** Printed and not yet shown: the page lays out once a screen, not once a print. @type {[spec: string, text: string][]} */ let waiting = [];
  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const added = (/** @type {HTMLElement} */ child) => { log.append(child); return child; };
  const kinds = {
    text: (text) => piece("pre.text", text),
    note: (text) => piece("pre.note", text),
    chart(svg, name) {
      flush();
      following(() => chart(svg, name));
    },
  };
  function chart(svg, name) {
    const drawing = drawn(svg);
    if (charts.has(name)) return fill(charts.get(name), drawing);
    last = null;
    charts.set(name, added(h("figure.chart", { data: { name } }, drawing)));
  }
  function piece(spec, text) {
    if (shown > MOST_TEXT) return;
    shown += text.length;
    if (shown > MOST_TEXT) text += "\n… more was printed than is shown here.";
    if (!waiting.length) setTimeout(flush, SCREEN);
    if (waiting.at(-1)?.[0] === spec) waiting[waiting.length - 1][1] += text;
    else waiting.push([spec, text]);
  }
  function write([spec, text]) {
    if (last?.dataset.spec !== spec) last = added(h(spec, { data: { spec } }));
    last.append(text);
  }
  function flush() {
    const now = waiting;
    waiting = [];
    if (now.length) following(() => now.forEach(write));
  }
  /** The end stays in sight, unless somebody has scrolled away from it. @param {() => void} add */
  function following(add) {
    const follow = atEnd();
    add();
    if (follow) log.scrollTop = log.scrollHeight;
  }
  return {
    element: log,
    clear() { fill(log); charts.clear(); [shown, last, waiting] = [0, null, []]; },
    /** @param {"text" | "note" | "chart"} kind @param {string} text @param {string} name of a chart */
    emit(kind, text, name) { kinds[kind](text, name); },
    /** @param {{status: string, line?: number, text?: string, advice?: string}} result */
    end({ status, line, text, advice }) {
      flush();
      last = null;
      if (status === "stopped") added(h("p.ended", {}, "Stopped."));
      if (status !== "failed") return;
      const where = line ? h("button.link", { type: "button", onclick: () => goTo(line) }, `Line ${line}`) : "The script";
      added(h("div.failure", { role: "alert" }, h("p", {}, where, ": ", text), advice && h("p.quiet", {}, advice)));
      log.scrollTop = log.scrollHeight;
    },
  };
}

/** As an image of the page's own, without its scripts, if any. @param {string} svg */
function drawn(svg) {
  const root = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  for (const bad of root.querySelectorAll("script, foreignObject")) bad.remove();
  return document.importNode(root, true);
}
