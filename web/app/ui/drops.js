/** Files dropped anywhere on the page, with a veil that says so. Runs in the page. */
import { fill, h, icon } from "../dom.js";

/** What a drop does on a tab that has no use of its own for files. */
const WORDS = ["Drop to add to your notes", "A .gguf file becomes the model of Chat"];
const isModel = ({ name }) => /\.gguf$/i.test(name);

/** @param {any} app */
export function watchDrops(app) {
  const words = h("strong"), more = h("span");
  const veil = h("div.veil", { hidden: true, "aria-hidden": "true" }, h("div", {}, icon("folder"), words, more));
  document.body.append(veil);
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].some((type) => type === "Files");
  addEventListener("dragover", (event) => {
    if (carries(event)) {
      event.preventDefault();
      [words, more].forEach((element, i) => fill(element, (app.views[app.tab].dropWords ?? WORDS)[i]));
      veil.hidden = false;
    }
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) veil.hidden = true;
  });
  addEventListener("drop", (event) => {
    veil.hidden = true;
    if (!carries(event)) return; // text dropped into a field is the field's
    event.preventDefault();
    if (app.views[app.tab].dropped?.(event)) return;
    const files = [...event.dataTransfer.files];
    const models = files.filter(isModel);
    if (!models.length) return app.adding.dropped(event.dataTransfer);
    app.giveModel(models);
    const notes = files.filter((file) => !isModel(file));
    if (notes.length) app.adding.chosen(notes);
  });
}
