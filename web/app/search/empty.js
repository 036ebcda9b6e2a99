/** What stands where results would: the first visit, before the first words, nothing found. Runs in the page. */
import { h, icon } from "../dom.js";
import { bytes } from "../format.js";
import { SAMPLE_QUESTIONS } from "../samples.js";

/** First visit. @param {any} app */
export function welcome(app) {
  const promise = (name, title, text) => h("li", {}, icon(name), h("div", {}, h("strong", {}, title), h("span", {}, text)));
  const size = h("span.size");
  app.engine.size().then((total) => {
    if (total) size.textContent = ` of ${bytes(total)}`;
  });
  return h(
    "div.welcome",
    {},
    h("h1", {}, "Find it by what it means"),
    h(
      "p.lead",
      {},
      "Ask in your own words. EdgeNet reads your notes in this tab and finds the passage that answers, even when it uses other words. Mark what you meant, and it learns.",
    ),
    h(
      "div.actions",
      {},
      h("button.primary", { type: "button", onclick: () => app.addSamples() }, icon("spark"), "Try it with sample notes"),
      h("button", { type: "button", onclick: () => app.go("library") }, icon("plus"), "Add my own notes"),
    ),
    h(
      "ul.promises",
      {},
      promise("lock", "Nothing leaves this tab", "Your notes, searches and marks stay in this browser."),
      promise("save", ["One download", size], "The model that searches, once, when you begin. Then it works offline."),
      promise("yes", "Verified", "Every byte of the model is checked against a signed list."),
    ),
  );
}

/** There are documents, and nothing is typed. @param {any} app */
export function startHere(app) {
  const samples = [...app.library.all.values()].some(({ sample, deletedAt }) => sample && !deletedAt);
  return h(
    "div.start",
    {},
    h(
      "p.lead",
      {},
      samples ? "Ask something. These questions share hardly a word with the notes that answer them:" : "Ask something, in your own words.",
    ),
    samples &&
      h(
        "div.questions",
        {},
        SAMPLE_QUESTIONS.map((question) => h("button.chip", { type: "button", onclick: () => app.searchView.ask(question) }, question)),
      ),
  );
}

/** @param {string} query @param {any} library */
export function noResults(query, library) {
  if (library.waiting.length)
    return h(
      "div.start",
      {},
      h("p.lead", {}, "Your notes are still being read."),
      h("p", {}, "Results appear as soon as the first ones are ready."),
    );
  if (!library.size)
    return h("div.start", {}, h("p.lead", {}, "There is nothing to search yet."), h("p", {}, "Add some notes in the Library tab first."));
  return h(
    "div.start",
    {},
    h("p.lead", {}, `Nothing for \u201c${query}\u201d.`),
    h("p", {}, "None of your documents could be compared. Look in the Library tab whether they were read."),
  );
}
