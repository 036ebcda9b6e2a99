/** One document in the list: open, rename in place, delete. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { count, day } from "../format.js";
import { shareRead } from "./indexer.js";

const STATES = {
  ready: ({ passages }) => count(passages.length, "passage"),
  waiting: (document) => (shareRead(document) ? `${Math.floor(100 * shareRead(document))} % read` : "waiting to be read"),
  failed: () => "could not be read",
};

/** @param {any} document @param {{open: () => void, rename: (name: string) => any, remove: () => void}} does */
export function row(document, does) {
  const facts = [
    count(document.size, "character"),
    STATES[document.state](document),
    day(document.addedAt),
  ];
  const item = h(
    `li.document.${document.state}`,
    { data: { id: document.id } },
    icon("file"),
    h(
      "div.what",
      {},
      h("button.name.link", { type: "button", onclick: does.open }, document.name),
      h("p.facts", {}, facts.join(" \u00b7 ")),
      document.error && h("p.note.bad", {}, document.error.message),
      document.notes.map((note) => h("p.note", {}, note)),
    ),
    h(
      "div.tools",
      {},
      h(
        "button.quiet",
        { type: "button", "aria-label": `Rename ${document.name}`, title: "Rename", onclick: () => edit(item, document, does.rename) },
        icon("pen"),
      ),
      h("button.quiet", { type: "button", "aria-label": `Delete ${document.name}`, title: "Delete", onclick: does.remove }, icon("trash")),
    ),
  );
  return item;
}

/** Enter or leaving saves, Escape keeps the old name. */
function edit(item, document, rename) {
  let settled = false;
  const settle = (name) => {
    if (!settled) {
      settled = true;
      input.blur();
      rename(name);
    }
  };
  const input = h("input", {
    type: "text",
    value: document.name,
    "aria-label": "New name",
    onblur: () => settle(input.value),
    onkeydown: (event) => {
      event.stopPropagation();
      if (event.key === "Enter") settle(input.value);
      if (event.key === "Escape") settle(document.name);
    },
  });
  fill(item.querySelector(".what"), input);
  input.focus();
  input.select();
}
