/** What stands in Chat before the first question: how to get a model, and what to expect of it. Runs in the page. */
import { h } from "../dom.js";

const line = (...children) => h("li", {}, ...children);

/** No model that can chat is chosen. @param {any} app @param {() => void} choose opens the file picker */
export function howToGetOne(app, choose) {
  const choice = app.language.chosen.value;
  const { missing } = app.language;
  const mute = choice && app.language.chats === false;
  return h(
    "div.start.getmodel",
    {},
    h("h1", {}, "Talk to a model that runs here"),
    missing && h("p.lead", {}, `\u201c${missing}\u201d, which you used last, is a file of yours and was not kept here. Choose it again; the next start is quick.`),
    mute &&
      !missing &&
      h(
        "p.lead",
        {},
        `\u201c${choice.name}\u201d goes on with a text and was not made for conversations: its file has no chat template. `,
        h("button.link", { type: "button", onclick: () => app.go("complete") }, "Use it in Complete"),
        ".",
      ),
    !missing && h("p.lead", {}, "A conversation needs a model that was taught to have one. This site brings none, for they are large; any GGUF file from a model hub will do."),
    h("div.drop", {}, h("p", {}, h("strong", {}, "Drop a .gguf file anywhere")), h("p.quiet", {}, "It is read here, where it lies. Nothing is sent."), h("button.primary", { type: "button", onclick: choose }, "Choose a GGUF file")),
    h(
      "ul.ways-to",
      {},
      line(h("strong", {}, "A small one to begin with: "), "Qwen2.5-0.5B-Instruct in Q4_0, a file of about 430 MB. It writes fluent text and gets facts wrong. One with 1.5 billion weights (about 1.1 GB) answers better and needs three times the work for each word."),
      line(h("strong", {}, "From a model hub: "), "look for \u201cGGUF\u201d and \u201cInstruct\u201d and take one file. llama, mistral, qwen2, qwen3, phi2, phi3, gemma and gemma2 run here."),
      line(h("strong", {}, "On the command line: "), h("code", {}, "edge-net-models pull hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_0.gguf")),
      line(h("strong", {}, "What it takes: "), "as much memory as the file is large, and a little more. A tab can have 4 GB. After a reload, give the file again."),
    ),
  );
}

/** A model is there, and nothing was asked yet. @param {any} app @param {(text: string) => void} ask */
export function beginHere(app, ask) {
  const { name } = app.language.chosen.value;
  const ideas = ["Explain recursion to a ten-year-old", "Write a haiku about rain on a tin roof", "Give me three names for a grey cat"];
  return h(
    "div.start",
    {},
    h("h1", {}, "Ask something"),
    h("p.lead", {}, `${name} answers in this tab. Small models are often wrong: check what matters.`),
    h("div.questions", {}, ideas.map((idea) => h("button.chip", { type: "button", onclick: () => ask(idea) }, idea))),
  );
}
