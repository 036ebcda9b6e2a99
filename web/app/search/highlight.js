/** Which words of a passage to emphasise for a query, and how a text falls into blocks for reading. Pure; offsets in UTF-16 code units. */

const WORD = /[\p{L}\p{N}]+/gu;
/** Words that say nothing about the subject. */
const COMMON = new Set(
  `
  the a an and or of to in on at for with from by is are was were be been it its this that these those i my me we our
  you your he she they them his her their what which who whom how why when where do does did can could should would
  will not no have has had about into so as if than then there here some any
  `
    .trim()
    .split(/\s+/),
);

/** Crude on purpose: "brakes" and "brake", "freezing" and "freeze" share a stem; anything finer is the model's business. */
export function stem(word) {
  const lower = word.toLocaleLowerCase();
  for (const ending of ["ings", "ing", "edly", "ed", "es", "s", "ly", "e"]) {
    if (lower.length - ending.length >= 3 && lower.endsWith(ending)) return lower.slice(0, -ending.length);
  }
  return lower;
}

/**
 * @param {string} text @param {string} query
 * @returns {[number, number][]} start and end of each word that the query names
 */
export function wordRanges(text, query) {
  const wanted = new Set(
    [...query.matchAll(WORD)]
      .map(([word]) => word)
      .filter((word) => !COMMON.has(word.toLowerCase()))
      .map(stem),
  );
  if (!wanted.size) return [];
  return [...text.matchAll(WORD)].filter(([word]) => wanted.has(stem(word))).map((match) => [match.index, match.index + match[0].length]);
}

/**
 * A snippet of at most `limit` characters, cut at words, around the first named word (or from the start).
 * @returns {{start: number, end: number, before: boolean, after: boolean}} offsets in `text`; before and after: something was cut
 */
export function snippet(text, ranges, limit = 280) {
  if (text.length <= limit) return { start: 0, end: text.length, before: false, after: false };
  const first = ranges[0]?.[0] ?? 0;
  let start = first > limit * 0.7 ? Math.max(0, first - Math.floor(limit / 3)) : 0;
  if (start) start = text.indexOf(" ", start) + 1 || start;
  let end = Math.min(text.length, start + limit);
  if (end < text.length) end = Math.max(text.lastIndexOf(" ", end), start + 1);
  if (isLowSurrogate(text, end)) end--;
  return { start, end, before: start > 0, after: end < text.length };
}

const isLowSurrogate = (text, i) => (text.charCodeAt(i) & 0xfc00) === 0xdc00;

/**
 * Blocks for reading: headings, list items and paragraphs, without changing a character.
 * @param {string} text @param {string} type
 * @returns {{kind: "h1"|"h2"|"h3"|"li"|"p", start: number, end: number, spaced: boolean}[]} spaced: after an empty line; without the line's own mark ("# ", "- ")
 */
export function blocks(text, type) {
  const found = [];
  for (const { 0: line, index } of text.matchAll(/[^\n]+/g)) {
    const mark = type === "txt" ? null : /^(#{1,6}|[-*\u2022]|\d+\.) +/.exec(line);
    if (!line.trim()) continue;
    const kind = !mark ? "p" : mark[1][0] === "#" ? `h${Math.min(3, mark[1].length)}` : "li";
    const start = index + (mark && !/\d/.test(mark[1]) ? mark[0].length : 0);
    found.push({ kind, start, end: index + line.length, spaced: index === 0 || text[index - 2] === "\n" });
  }
  return found;
}

/**
 * Cuts a span into pieces by ranges, in order. @param {number} start @param {number} end @param {[number, number][]} ranges sorted
 * @returns {{start: number, end: number, inside: boolean}[]}
 */
export function cut(start, end, ranges) {
  const pieces = [];
  let at = start;
  for (const [from, to] of ranges) {
    const a = Math.max(from, at),
      b = Math.min(to, end);
    if (a >= b) continue;
    if (a > at) pieces.push({ start: at, end: a, inside: false });
    pieces.push({ start: a, end: b, inside: true });
    at = b;
  }
  if (at < end) pieces.push({ start: at, end, inside: false });
  return pieces;
}
