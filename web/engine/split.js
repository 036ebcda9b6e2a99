/**
 * Splitting a text into passages that fit the model. Runs anywhere; twin of `pysrc/edgenet/text/split.py`, tied by
 * `tests/vectors/split.json`. Nothing is cut off: passages cover every character that is not white space at an edge.
 *
 * A paragraph (text between empty lines) is a passage; short ones (headings, list items) join the next. A paragraph that is too long
 * breaks after a sentence, else after a word, else anywhere, and the next passage repeats its last words (`overlap`).
 */
import { EmptyText, InvalidOption } from "../sdk/errors.js";

/** @typedef {{text: string, start: number, end: number, tokens: number}} Passage offsets in UTF-16 units; `tokens` with [CLS] and [SEP], never too few */
/** @typedef {{start: number, end: number, tokens: number, after: number}} Unit `after`: how good it is to break behind it, one of the ranks below */

export const MAX_TOKENS = 256;
const OVERLAP_SHARE = 8; // by default an eighth of a passage is repeated
const MARKS = 2;   // [CLS] and [SEP]
const SHORT = 24;  // tokens; a paragraph with fewer is joined by the next
const INSIDE = 0, WORD = 1, SENTENCE = 2, PARAGRAPH = 3;

// Where BERT's pre-tokenizer always divides: white space, ASCII punctuation, Han characters. Token counts of units therefore add up.
const SPACE = "\\t\\n\\r \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const ALONE = "!-\\/:-@\\[-`\\{-~\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff";
// A run of letters longer than a quarter of a passage is divided, each part counted as if every letter were a token (4: the most NFD makes of one).
const unitsFor = (/** @type {number} */ room) => new RegExp(`([${SPACE}]+)|([${ALONE}])|[^${SPACE}${ALONE}]{1,${Math.floor(room / 4)}}`, "gu");
const SENTENCE_END = /[.!?\u2026\u3002\uff01\uff1f]["')\]\u201d\u2019\u00bb\u300d]{0,3}$/u;
const WIDE_END = /[\u3002\uff01\uff1f]$/u;    // scripts without spaces end sentences with these
const EMPTY_LINE = /(?:\r\n?|\n)[ \t]*(?:\r\n?|\n)/u;

/**
 * @param {string} text
 * @param {(unit: string) => number} countUnit tokens of one unit, without [CLS] and [SEP]
 * @param {{maxTokens?: number, overlap?: number}} [options] in tokens; `overlap` is an eighth of `maxTokens` unless given
 * @returns {Passage[]}
 * @throws EmptyText when there is nothing but white space; InvalidOption
 */
export function split(text, countUnit, { maxTokens = MAX_TOKENS, overlap = Math.floor(maxTokens / OVERLAP_SHARE) } = {}) {
  check(maxTokens, overlap);
  const room = maxTokens - MARKS;
  const units = findUnits(text, countUnit, unitsFor(room));
  if (!units.length) throw new EmptyText("There is no text to split: it holds only white space. Give a text with words.");
  return paragraphs(units, room).flatMap(([from, to]) => pieces(units, from, to, room, overlap)).map(([from, to]) => {
    const { start } = units[from], { end } = units[to - 1];
    return { text: text.slice(start, end), start, end, tokens: sum(units, from, to) + MARKS };
  });
}

function check(maxTokens, overlap) {
  if (!Number.isInteger(maxTokens) || maxTokens < 16 || maxTokens > MAX_TOKENS) throw new InvalidOption(`maxTokens must be a whole number from 16 to ${MAX_TOKENS}, not ${maxTokens}.`, { maxTokens });
  if (!Number.isInteger(overlap) || overlap < 0 || overlap > maxTokens / 2) throw new InvalidOption(`overlap must be a whole number from 0 to half of maxTokens (${maxTokens}), not ${overlap}.`, { overlap });
}

/** @param {string} text @param {(unit: string) => number} countUnit @param {RegExp} pattern @returns {Unit[]} */
function findUnits(text, countUnit, pattern) {
  /** @type {Unit[]} */
  const units = [];
  let wasRun = false;
  for (const match of text.matchAll(pattern)) {
    const [found, space, alone] = match;
    const last = units[units.length - 1];
    if (space !== undefined) {
      if (last) last.after = rank(text, last, space);
      wasRun = false;
      continue;
    }
    const unit = { start: match.index, end: match.index + found.length, tokens: 0, after: WIDE_END.test(found) ? SENTENCE : INSIDE };
    const long = wasRun && alone === undefined; // the second part of a run: the first was long too
    if (long) last.tokens = letters(text.slice(last.start, last.end));
    unit.tokens = long ? letters(found) : countUnit(found);
    units.push(unit);
    wasRun = alone === undefined;
  }
  return units;
}

/** An upper bound of the tokens of a part of a run, whatever it is joined with. @param {string} part */
const letters = (part) => Array.from(part.normalize("NFD")).length;

/** @param {string} text @param {Unit} unit @param {string} space what follows it */
function rank(text, unit, space) {
  if (EMPTY_LINE.test(space)) return PARAGRAPH;
  return SENTENCE_END.test(text.slice(Math.max(0, unit.end - 4), unit.end)) || unit.after === SENTENCE ? SENTENCE : WORD;
}

/** Ranges of units that become one passage, or several when too long. @param {Unit[]} units @param {number} room @returns {[number, number][]} */
function paragraphs(units, room) {
  /** @type {[number, number, number][]} */
  const ranges = [];
  for (let from = 0; from < units.length;) {
    let to = from + 1, tokens = units[from].tokens;
    while (units[to - 1].after !== PARAGRAPH && to < units.length) tokens += units[to++].tokens;
    const last = ranges[ranges.length - 1];
    if (last && last[2] < SHORT && last[2] + tokens <= room) [last[1], last[2]] = [to, last[2] + tokens];
    else ranges.push([from, to, tokens]);
    from = to;
  }
  return ranges.map(([from, to]) => [from, to]);
}

/** @param {Unit[]} units @param {number} from @param {number} to @param {number} room @param {number} overlap @returns {[number, number][]} */
function pieces(units, from, to, room, overlap) {
  /** @type {[number, number][]} */
  const parts = [];
  for (;;) {
    const end = breakAt(units, from, to, room);
    parts.push([from, end]);
    if (end === to) return parts;
    from = resumeAt(units, from, end, overlap, to, room);
  }
}

/** Where the piece that begins at `from` ends: the best rank in its second half, the latest of them. */
function breakAt(units, from, to, room) {
  let end = from, tokens = 0;
  while (end < to && (tokens + units[end].tokens <= room || end === from)) tokens += units[end++].tokens;
  if (end === to) return to;
  let best = end;
  for (let i = end, left = tokens; i > from && left > tokens / 2; left -= units[--i].tokens) {
    if (units[i - 1].after > units[best - 1].after) best = i;
  }
  return best;
}

/** Where the next piece begins: up to `overlap` tokens before `end`, at a sentence if one begins there, else at a word. */
function resumeAt(units, from, end, overlap, to, room) {
  let best = end, rank = INSIDE, tokens = 0;
  for (let i = end - 1; i > from && tokens + units[i].tokens <= overlap; i--) {
    tokens += units[i].tokens;
    if (units[i - 1].after >= Math.max(rank, WORD)) [best, rank] = [i, units[i - 1].after];
  }
  return best < end && breakAt(units, best, to, room) <= end ? end : best; // an overlap that gains nothing would never finish
}

const sum = (units, from, to) => units.slice(from, to).reduce((total, unit) => total + unit.tokens, 0);
