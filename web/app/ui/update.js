/** Tells that a new version of the page is ready, and reloads when the user agrees. Runs in the page. Nothing is lost: all that counts is saved as it happens. */
import { fill, h } from "../dom.js";

const WORDS = "edgenet-words"; // what stood in the search box, across the reload

/** @returns {{element: HTMLElement, offer: (apply: () => void) => void}} an empty bar until `offer` */
export function updateBar() {
  const element = h("div.update", { role: "status" });
  const reload = (apply) => {
    sessionStorage.setItem(WORDS, document.getElementById("query")?.value ?? "");
    apply();
  };
  const offer = (apply) =>
    fill(
      element,
      h("span", {}, "A new version of EdgeNet is ready. Nothing is lost."),
      h("button.primary", { type: "button", onclick: () => reload(apply) }, "Reload"),
      h("button.quiet", { type: "button", onclick: () => fill(element) }, "Later"),
    );
  return { element, offer };
}

/** What stood in the search box before the reload, once. */
export function wordsBefore() {
  const words = sessionStorage.getItem(WORDS) ?? "";
  sessionStorage.removeItem(WORDS);
  return words;
}
