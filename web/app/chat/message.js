/** One message: a question with a way to change it, or an answer with how it was made, copy and again. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { copyButton, showAnswer } from "./answer.js";

/**
 * @param {import("./conversations.js").Message} message
 * @param {{last: boolean, edit: (text: string) => void, again: () => void}} about
 */
export function messageItem(message, { last, edit, again }) {
  if (message.role === "user") return question(message, edit);
  const body = h("div.body");
  showAnswer(body, message.content);
  const told = [message.stopped && "stopped", ...(message.told ?? [])].filter(Boolean);
  return h(
    "li.message.assistant",
    {},
    h("p.who", {}, message.model ?? "Model"),
    body,
    h(
      "div.under",
      {},
      h("p.facts", {}, told.join(" \u00b7 ")),
      h(
        "div.does",
        {},
        copyButton(() => message.content, "Copy the answer"),
        last && h("button.quiet", { type: "button", title: "Answer again", onclick: again }, icon("again"), "Again"),
      ),
    ),
  );
}

function question(message, edit) {
  const item = h(
    "li.message.user",
    {},
    h("p.who", {}, "You"),
    h("div.body", {}, h("p", {}, message.content)),
    h(
      "div.under",
      {},
      h("div.does", {}, h("button.quiet", { type: "button", title: "Change this question; what follows is cut", onclick: () => change(item, message, edit) }, icon("pen"), "Edit")),
    ),
  );
  return item;
}

/** Enter asks, Escape leaves it as it was. */
function change(item, { content }, edit) {
  const before = [...item.childNodes];
  const back = () => fill(item, before);
  const box = h("textarea", {
    rows: Math.min(8, content.split("\n").length + 1),
    value: content,
    "aria-label": "Your question",
    onkeydown: (event) => {
      if (event.key === "Escape") back();
      else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) form.requestSubmit();
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
  });
  const form = h(
    "form.change",
    {
      onsubmit: (event) => {
        event.preventDefault();
        if (box.value.trim()) edit(box.value);
      },
    },
    box,
    h("div.actions", {}, h("button.primary", { type: "submit" }, "Ask again"), h("button", { type: "button", onclick: back }, "Cancel")),
  );
  fill(item, form);
  box.focus();
}

/** The answer as it comes. @returns {{element: HTMLElement, say: (text: string, loading: boolean) => void}} */
export function answering() {
  const body = h("div.body");
  const wait = h("p.facts.wait", {}, h("span.dots", { "aria-hidden": "true" }, h("i"), h("i"), h("i")), h("span"));
  return {
    element: h("li.message.assistant.now", { "aria-busy": "true" }, h("p.who", {}, "\u2026"), body, wait),
    say(text, loading) {
      showAnswer(body, text);
      wait.lastChild.textContent = text ? "" : loading ? "Loading the model\u2026" : "Reading\u2026";
    },
  };
}
