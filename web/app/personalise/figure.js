/** The curves of a course as an SVG, with the same numbers as a table for those who do not see it. Runs in the page. */
import { h, s } from "../dom.js";
import { curve } from "./curve.js";

/** The letters keep their size, so a narrow window has a drawing of its own. */
const SIZES = { wide: { width: 720, height: 240 }, narrow: { width: 340, height: 200 } };
const size = () => SIZES[matchMedia("(max-width: 620px)").matches ? "narrow" : "wide"];
const NAMES = { train: "training", validation: "validation" };

/** @param {import("./course.js").Now} now @returns {HTMLElement} */
export function lossFigure(now) {
  const { width, height } = size();
  const { lines, dots, xTicks, yTicks, rows } = curve(now, { width, height });
  const last = rows.at(-1);
  const digits = Math.max(...yTicks.map(({ value }) => String(value).split(".")[1]?.length ?? 0)); // 3.5 and 4.0, not 4
  const kinds = new Set(lines.map(({ kind }) => kind));
  const written = (words) => (kinds.size ? words : ""); // of a course that has not begun there is the empty field
  const told = last ? `Loss at step ${last.step}: training ${number(last.train)}, validation ${number(last.validation)}.` : "No step yet.";
  return h(
    "figure.loss",
    {},
    s(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": told },
      yTicks.map(({ value, at }) => [s("path.grid", { d: `M40 ${at}H${width - 10}` }), s("text", { x: 34, y: at + 4, "text-anchor": "end" }, written(value.toFixed(digits)))]),
      xTicks.map(({ value, at }) => s("text", { x: at, y: height - 6, "text-anchor": "middle" }, written(value))),
      lines.map(({ kind, path }) => s(`path.${kind}`, { d: path })),
      dots.map(({ x, y }) => s("circle.validation", { cx: x, cy: y, r: 3 })),
    ),
    h("figcaption", {}, Object.entries(NAMES).map(([kind, name]) => kinds.has(kind) && h(`span.key.${kind}`, {}, name)), h("span.quiet", {}, "loss, by step")),
  );
}

/** The table beside the figure. @param {import("./course.js").Now} now @returns {HTMLElement[]} rows */
export const lossRows = (now) =>
  curve(now, SIZES.wide).rows.map(({ step, train, validation }) => h("tr", {}, h("th", { scope: "row" }, step), h("td", {}, number(train)), h("td", {}, number(validation))));

const number = (loss) => (loss === null ? "\u2013" : loss.toFixed(3));
