/** One document for reading, its found passages marked, the best one scrolled into view. Runs in the page. */
import { h, icon } from "../dom.js";
import { count, day } from "../format.js";
import { blocks, cut } from "./highlight.js";

/**
 * @param {{document: any, text: string, row: number | null, others?: number[], onClose: () => void}} what
 * @returns {HTMLElement} call `reveal(element)` once it stands in the page
 */
export function reader({ document, text, row, others = [], onClose }) {
  const range = (index) => [document.passages[index].start, document.passages[index].end];
  const best = row === null || !document.passages?.[row] ? [] : [range(row)];
  const rest = others
    .filter((other) => document.passages?.[other])
    .map(range)
    .sort(([a], [b]) => a - b);
  const body = h(
    "div.body",
    { tabindex: "0", "aria-label": `Text of ${document.name}` },
    blocks(text, document.type).map((block) => paragraph(block, text, best, rest)),
  );
  return h(
    "article.reader",
    { "aria-label": document.name },
    h(
      "header",
      {},
      h(
        "button.quiet.close",
        { type: "button", "aria-label": "Close the document", title: "Close (Esc)", onclick: onClose },
        icon("back"),
        h("span", {}, "Results"),
      ),
      h("h2", {}, document.name),
      h(
        "p.facts",
        {},
        [count(document.size, "character"), count(document.passages?.length ?? 0, "passage"), `added ${day(document.addedAt)}`].join(
          " \u00b7 ",
        ),
      ),
      document.notes.map((note) => h("p.note", {}, note)),
    ),
    body,
  );
}

function paragraph({ kind, start, end, spaced }, text, best, rest) {
  const pieces = cut(start, end, best).flatMap((piece) =>
    piece.inside
      ? h("mark.passage", {}, text.slice(piece.start, piece.end))
      : cut(piece.start, piece.end, rest).map((other) =>
          other.inside ? h("mark.other", {}, text.slice(other.start, other.end)) : text.slice(other.start, other.end),
        ),
  );
  const tag = { h1: "h3", h2: "h4", h3: "h5" }[kind] ?? "p";
  return h(`${tag}.${kind}${spaced ? ".spaced" : ""}`, {}, pieces);
}

/** Scrolls the best passage to the upper third of its own pane. @param {HTMLElement} article */
export function reveal(article) {
  const body = article.querySelector(".body"),
    passage = article.querySelector("mark.passage");
  if (!passage) return;
  const offset = passage.getBoundingClientRect().top - body.getBoundingClientRect().top + body.scrollTop;
  body.scrollTo({ top: Math.max(0, offset - body.clientHeight / 4) });
}
