/** One result: document, score, the passage with the query's words emphasised, and the two marks. Runs in the page. */
import { h, icon } from "../dom.js";
import { cut, snippet, wordRanges } from "./highlight.js";

/** Text with the query's words in <mark>. */
export function emphasised(text, query) {
  const ranges = wordRanges(text, query);
  const { start, end, before, after } = snippet(text, ranges);
  const pieces = cut(start, end, ranges).map((piece) =>
    piece.inside ? h("mark", {}, text.slice(piece.start, piece.end)) : text.slice(piece.start, piece.end),
  );
  return [before && "\u2026 ", ...pieces, after && " \u2026"];
}

/** Cosines are rarely above 0.8 for related texts; the bar is scaled so that differences can be seen. */
const width = (score) => Math.max(0.02, Math.min(1, score / 0.8));

/**
 * @param {import("./searcher.js").Found} found
 * @param {{document: any, words: string, query: string, position: number, mark?: {relevant: boolean}, moved?: {from: number|null, to: number|null}, selected: boolean}} about
 * @param {{open: () => void, mark: (relevant: boolean) => void}} does
 */
export function card(found, { document, words, query, position, mark, moved, selected }, does) {
  const bar = h("span.bar", { "aria-hidden": "true" }, h("span"));
  bar.firstChild.style.setProperty("--share", width(found.score));
  const thumb = (relevant, label, key, name) =>
    h(
      `button.thumb.${relevant ? "good" : "bad"}`,
      {
        type: "button",
        "aria-pressed": String(mark?.relevant === relevant),
        "aria-label": `${label}: ${document.name}`,
        title: `${label} (${key})`,
        onclick: () => does.mark(relevant),
      },
      icon(name),
      h("span", {}, label),
    );
  return h(
    `li.card${selected ? ".selected" : ""}${found.score < 0.2 ? ".weak" : ""}`,
    { data: { id: found.id, row: found.row } },
    h(
      "button.open",
      {
        type: "button",
        "aria-current": String(selected),
        "aria-label": `${position}. ${document.name}, score ${found.score.toFixed(2)}. Open`,
        onclick: does.open,
      },
      h(
        "span.title",
        {},
        h("span.name", {}, document.name),
        badge(moved),
        h(
          "span.score",
          { title: "Cosine similarity of your words and this passage, as taught" },
          bar,
          h("span.number", {}, found.score.toFixed(2)),
        ),
      ),
      h("span.words", {}, emphasised(words, query)),
    ),
    h(
      "div.marks",
      {},
      thumb(true, "Relevant", "R", "yes"),
      thumb(false, "Not relevant", "N", "no"),
      found.others.length > 0 &&
        h(
          "span.more",
          { title: "More passages of this document" },
          `+${found.others.length}`,
          h("span", {}, found.others.length === 1 ? " more passage" : " more passages"),
        ),
    ),
  );
}

function badge(moved) {
  if (!moved || moved.from === moved.to) return null;
  if (moved.from === null) return h("span.badge.rose", {}, "new");
  const up = moved.to < moved.from;
  return h(
    `span.badge.${up ? "rose" : "fell"}`,
    { "aria-label": `${up ? "up" : "down"} ${Math.abs(moved.to - moved.from)}` },
    `${up ? "\u25b2" : "\u25bc"} ${Math.abs(moved.to - moved.from)}`,
  );
}
