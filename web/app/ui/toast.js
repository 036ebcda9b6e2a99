/** Short messages at the foot of the page, with one thing to do about them. Errors stay until closed. Runs in the page. */
import { h, icon } from "../dom.js";
import { plain } from "./plain.js";

const STAY = 8000; // ms; the time to undo

export class Toasts {
  constructor() {
    this.element = h("div.toasts", { role: "region", "aria-label": "Messages", "aria-live": "polite" });
  }

  /** @param {string} text @param {{label: string, run: () => void} | null} [action] @param {() => void} [gone] when it leaves without the action */
  say(text, action, gone) {
    const close = (acted) => {
      if (!toast.isConnected) return;
      toast.remove();
      clearTimeout(timer);
      (acted ? action.run : gone)?.();
    };
    const toast = h(
      "div.toast",
      {},
      h("span", {}, text),
      action && h("button.link", { type: "button", onclick: () => close(true) }, action.label),
      h("button.quiet.close", { type: "button", "aria-label": "Close this message", onclick: () => close(false) }, icon("close")),
    );
    const timer = setTimeout(() => close(false), STAY);
    while (this.element.childElementCount > 2) this.element.firstElementChild.querySelector(".close").click();
    this.element.append(toast);
  }

  /** @param {any} error @param {...Node} actions */
  error(error, ...actions) {
    console.error(error);
    const toast = h(
      "div.toast.bad",
      {},
      plain(error, ...actions),
      h("button.quiet.close", { type: "button", "aria-label": "Close this message", onclick: () => toast.remove() }, icon("close")),
    );
    this.element.append(toast);
  }
}
