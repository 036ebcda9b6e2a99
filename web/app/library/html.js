/** HTML to readable text, by the browser's own parser. Runs in the page. Nothing of the document is run, loaded or shown: only its words are taken. */

const DROPPED = "script, style, noscript, template, iframe, object, svg, head, nav, [hidden]";
const BLOCKS =
  "address, article, aside, blockquote, br, dd, div, dl, dt, figcaption, footer, h1, h2, h3, h4, h5, h6, header, hr, li, main, ol, p, pre, section, table, tr, ul";
const HEADINGS = "h1, h2, h3, h4, h5, h6";

/** @param {string} html @returns {string} paragraphs separated by empty lines; headings as Markdown headings */
export function htmlToText(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  const title = page.title.trim();
  page.querySelectorAll(DROPPED).forEach((element) => element.remove());
  page.querySelectorAll("pre").forEach((element) => element.replaceChildren(element.textContent.replace(/\n/g, "\u2028")));
  page.querySelectorAll(HEADINGS).forEach((element) => element.prepend(`${"#".repeat(Number(element.tagName[1]))} `));
  page.querySelectorAll("li").forEach((element) => element.prepend("\u2022 "));
  page.querySelectorAll("td, th").forEach((element) => element.append("  "));
  page.querySelectorAll(BLOCKS).forEach((element) => {
    element.before("\u2029");
    element.after("\u2029");
  });
  const text = page.body.textContent
    .replace(/[ \t\n\f]+/g, " ")
    .replace(/ ?\u2028 ?/g, "\n")
    .replace(/\s*\u2029[\s\u2029]*/g, "\n\n")
    .trim();
  return title && !text.slice(0, title.length + 8).includes(title) ? `# ${title}\n\n${text}` : text;
}
