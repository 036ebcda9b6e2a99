/** The curves of a course as an SVG, with the same numbers as a table for those who do not see it. Runs in the page. */
import { h, s } from "../dom.js";
import { curve } from "./curve.js";

const SIZE = { width: 560, height: 220 };
const NAMES = { train: "training", validation: "validation" };

/** @param {import("./course.js").Now} now @returns {HTMLElement} */
export function lossFigure(now) {
  const { lines, dots, xTicks, yTicks, rows } = curve(now, SIZE);
  const last = rows.at(-1);
  const told = last ? `Loss at step ${last.step}: training ${number(last.train)}, validation ${number(last.validation)}.` : "No step yet.";
  return h(
    "figure.loss",
    {},
    s(
      "svg",
      { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", "aria-label": told },
      yTicks.map(({ value, at }) => [s("path.grid", { d: `M40 ${at}H${SIZE.width - 10}` }), s("text", { x: 34, y: at + 4, "text-anchor": "end" }, value)]),
      xTicks.map(({ value, at }) => s("text", { x: at, y: SIZE.height - 6, "text-anchor": "middle" }, value)),
      lines.map(({ kind, path }) => s(`path.${kind}`, { d: path })),
      dots.map(({ x, y }) => s("circle.validation", { cx: x, cy: y, r: 3 })),
    ),
    h("figcaption", {}, Object.entries(NAMES).map(([kind, name]) => h(`span.key.${kind}`, {}, name)), h("span.quiet", {}, "loss, by step")),
  );
}

/** The table beside the figure. @param {import("./course.js").Now} now @returns {HTMLElement[]} rows */
export const lossRows = (now) =>
  curve(now, SIZE).rows.map(({ step, train, validation }) => h("tr", {}, h("th", { scope: "row" }, step), h("td", {}, number(train)), h("td", {}, number(validation))));

const number = (loss) => (loss === null ? "\u2013" : loss.toFixed(3));
