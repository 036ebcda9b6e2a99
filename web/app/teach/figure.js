/** The before/after figure: two columns of ranks joined by lines, rising ones in the accent colour. Runs in the page. */
import { s } from "../dom.js";
import { say } from "./moves.js";

const ROW = 22,
  TOP = 26,
  WIDTH = 320,
  LEFT = 34,
  MIDDLE = 96,
  NAME = 116,
  LETTERS = 30;

/**
 * @param {{id: string, from: number|null, to: number|null}[]} list see moves()
 * @param {{name: (id: string) => string, marked?: string, relevant?: boolean}} about names by id, and the marked document
 * @returns {SVGElement}
 */
export function figure(list, { name, marked, relevant }) {
  const ranks = Math.max(...list.map(({ from, to }) => Math.max(from ?? 0, to ?? 0)));
  const out = TOP + ranks * ROW + ROW / 2; // where those leave to or come from
  const y = (rank) => (rank === null ? out : TOP + (rank - 0.5) * ROW);
  const words =
    list
      .filter(({ from, to }) => from !== to)
      .map((move) => say(move, name(move.id)))
      .join("; ") || "The order did not change";
  const lines = list.map((move) => line(move, y, move.id === marked ? "marked" : ""));
  const labels = list
    .filter(({ to }) => to !== null)
    .map(({ id, from, to }) => label(id, from, to, y, name(id), id === marked ? (relevant ? "good" : "bad") : ""));
  const numbers = Array.from({ length: ranks }, (_, i) => s("text.rank", { x: LEFT - 12, y: y(i + 1) + 4, "text-anchor": "end" }, i + 1));
  return s(
    "svg.figure",
    { viewBox: `0 0 ${WIDTH} ${out + 8}`, role: "img", "aria-label": `Ranking before and after: ${words}.` },
    s("text.head", { x: LEFT, y: 14, "text-anchor": "middle" }, "before"),
    s("text.head", { x: MIDDLE, y: 14, "text-anchor": "middle" }, "after"),
    numbers,
    lines,
    labels,
  );
}

const direction = (from, to) => (from === to ? "same" : to === null || (from !== null && to > from) ? "fell" : "rose");

function line({ from, to }, y, extra) {
  const classes = ["move", direction(from, to), extra].filter(Boolean).join(".");
  const curve = `M${LEFT} ${y(from)}C${(LEFT + MIDDLE) / 2} ${y(from)} ${(LEFT + MIDDLE) / 2} ${y(to)} ${MIDDLE} ${y(to)}`;
  return s(
    `g.${classes}`,
    {},
    s("path", { d: curve }),
    from !== null && s("circle", { cx: LEFT, cy: y(from), r: 3 }),
    to !== null && s("circle", { cx: MIDDLE, cy: y(to), r: 3 }),
  );
}

function label(id, from, to, y, name, extra) {
  const moved = from === to ? "" : from === null ? "new" : `${to < from ? "\u25b2" : "\u25bc"}${Math.abs(to - from)}`;
  const short = [...name].length > LETTERS ? `${[...name].slice(0, LETTERS - 1).join("")}\u2026` : name;
  return s(
    `g.name${extra && `.${extra}`}.${direction(from, to)}`,
    {},
    s("text", { x: NAME, y: y(to) + 4 }, short),
    moved && s("text.by", { x: WIDTH - 4, y: y(to) + 4, "text-anchor": "end" }, moved),
  );
}
