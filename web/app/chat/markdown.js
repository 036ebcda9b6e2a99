/**
 * As much Markdown as models write: paragraphs, headings, lists, quotes, fenced blocks; `code`, **bold** and *italics* inside. Pure: text in, plain
 * data out, so nothing of an answer can become mark-up of the page.
 */

/** @typedef {{kind: "p"|"h"|"ul"|"ol"|"quote"|"code", source: string, lines: string[], language?: string, first?: number}} Block `source`: all of it as written, to tell whether it changed */

/** Kind → how a line of it begins; the rest of the line is its text. */
const STARTS = /** @type {[Block["kind"], RegExp][]} */ ([
  ["h", /^#{1,6}\s+/],
  ["ul", /^\s*[-*\u2022]\s+/],
  ["ol", /^\s*\d{1,4}[.)]\s+/],
  ["quote", /^>\s?/],
]);
const FENCE = /^\s*(```+|~~~+)\s*([^\s`]*)/;
const ALONE = new Set(["h"]); // such a line is a block by itself

/** @param {string} text @returns {Block[]} a fence that is still open ends with the text */
export function blocks(text) {
  const found = [];
  let fence = null;
  let open = null;
  for (const line of text.split("\n")) {
    const mark = FENCE.exec(line);
    if (fence) {
      open.source += `\n${line}`;
      if (mark?.[1].startsWith(fence) && !mark[2]) fence = open = null;
      else open.lines.push(line);
    } else if (mark) {
      fence = mark[1];
      found.push((open = { kind: "code", source: line, lines: [], language: mark[2] }));
    } else open = plainLine(line, open, found);
  }
  return found;
}

/** Adds a line to the open block or opens another; null after an empty line. */
function plainLine(line, open, found) {
  if (!line.trim()) return null;
  const [kind, start] = STARTS.find(([, pattern]) => pattern.test(line)) ?? ["p"];
  const text = start ? line.replace(start, "") : line.trim();
  const inItem = kind === "p" && (open?.kind === "ul" || open?.kind === "ol");
  if (inItem) open.lines[open.lines.length - 1] += ` ${text}`;
  else if (open?.kind === kind && !ALONE.has(kind)) open.lines.push(text);
  else found.push((open = { kind, source: "", lines: [text], ...(kind === "ol" && { first: parseInt(line.trim(), 10) }) }));
  open.source += `${line}\n`;
  return ALONE.has(kind) ? null : open;
}

const INLINE = /(`+)(.+?)\1|\*\*(?=\S)(.+?\S?)\*\*|(?<![\w*])\*(?=[^\s*])(.+?)\*(?![\w*])/g;

/** @param {string} text @returns {{kind: "text"|"code"|"strong"|"em", text: string}[]} */
export function inline(text) {
  const pieces = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, , code, strong, em] = match;
    if (match.index > at) pieces.push({ kind: "text", text: text.slice(at, match.index) });
    pieces.push(code !== undefined ? { kind: "code", text: code } : strong !== undefined ? { kind: "strong", text: strong } : { kind: "em", text: em });
    at = match.index + whole.length;
  }
  if (at < text.length) pieces.push({ kind: "text", text: text.slice(at) });
  return pieces;
}

/** A conversation as a Markdown file. @param {import("./conversations.js").Conversation} conversation */
export const toMarkdown = ({ title, messages }) =>
  [`# ${title}`, ...messages.map(({ role, content, model, stopped }) => `**${role === "user" ? "You" : (model ?? "Model")}${stopped ? " (stopped)" : ""}**\n\n${content.trim()}`)].join("\n\n") + "\n";
