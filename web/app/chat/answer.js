/** An answer as elements: made from parsed Markdown, never from HTML strings. Runs in the page. */
import { h, icon } from "../dom.js";
import { blocks, inline } from "./markdown.js";

const TAGS = { code: "code", strong: "strong", em: "em" };
const words = (text) => inline(text).map(({ kind, text }) => (kind === "text" ? text : h(TAGS[kind], {}, text)));
const items = (tag, { lines, first }) => h(tag, { start: first }, lines.map((line) => h("li", {}, words(line))));

/** Kind of block → element. */
const SHAPES = {
  p: ({ lines }) => h("p", {}, lines.flatMap((line, i) => [i > 0 && h("br"), words(line)])),
  h: ({ lines }) => h("h3", {}, words(lines[0])),
  ul: (block) => items("ul", block),
  ol: (block) => items("ol", block),
  quote: ({ lines }) => h("blockquote", {}, words(lines.join(" "))),
  code: ({ lines, language }) =>
    h(
      "figure.code",
      {},
      h("figcaption", {}, h("span", {}, language || "code"), copyButton(() => lines.join("\n"), "Copy the code")),
      h("pre", { tabindex: "0", "aria-label": `${language || ""} code`.trim() }, h("code", {}, lines.join("\n"))),
    ),
};

/** Shows `text`, leaving blocks that have not changed as they are: what is selected or scrolled in them stays. @param {HTMLElement} element @param {string} text */
export function showAnswer(element, text) {
  const wanted = blocks(text);
  const kept = [...element.children];
  let same = 0;
  while (same < wanted.length && kept[same]?.dataset.source === wanted[same].source) same++;
  kept.slice(same).forEach((child) => child.remove());
  for (const block of wanted.slice(same)) {
    const made = SHAPES[block.kind](block);
    made.dataset.source = block.source;
    element.append(made);
  }
}

/** @param {() => string} text @param {string} label */
export function copyButton(text, label) {
  const button = h(
    "button.quiet",
    {
      type: "button",
      "aria-label": label,
      title: label,
      onclick: async () => {
        const copied = await navigator.clipboard.writeText(text()).then(
          () => true,
          () => false,
        );
        button.replaceChildren(icon(copied ? "yes" : "no"), copied ? "Copied" : "Not allowed");
        setTimeout(() => button.replaceChildren(icon("copy"), "Copy"), 1500);
      },
    },
    icon("copy"),
    "Copy",
  );
  return button;
}
