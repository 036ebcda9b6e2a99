/** Questions and longer explanations, in the browser's own modal dialog (focus, Escape and background are its business). Runs in the page. */
import { h, icon } from "../dom.js";

/** @param {string} title @param {...Node} content @returns {HTMLDialogElement} open */
export function dialog(title, ...content) {
  const element = h(
    "dialog",
    { "aria-label": title },
    h(
      "header",
      {},
      h("h2", {}, title),
      h("button.quiet.close", { type: "button", "aria-label": "Close", onclick: () => element.close() }, icon("close")),
    ),
    content,
  );
  element.addEventListener("close", () => element.remove());
  element.addEventListener("click", (event) => event.target === element && element.close()); // outside
  document.body.append(element);
  element.showModal();
  return element;
}

/** @param {{title: string, text: string, yes: string, no: string, danger?: boolean}} question @returns {Promise<boolean>} false also by Escape */
export function ask({ title, text, yes, no, danger }) {
  return new Promise((resolve) => {
    const element = dialog(
      title,
      h("p", {}, text),
      h(
        "div.actions",
        {},
        h(
          `button.${danger ? "danger" : "primary"}`,
          {
            type: "button",
            onclick: () => {
              resolve(true);
              element.close();
            },
          },
          yes,
        ),
        h("button", { type: "button", onclick: () => element.close() }, no),
      ),
    );
    element.addEventListener("close", () => resolve(false));
  });
}
