/** Files dropped anywhere on the page, with a veil that says so. Runs in the page. */
import { h, icon } from "../dom.js";

const isModel = ({ name }) => /\.gguf$/i.test(name);

/** @param {any} app */
export function watchDrops(app) {
  const veil = h(
    "div.veil",
    { hidden: true, "aria-hidden": "true" },
    h("div", {}, icon("folder"), h("strong", {}, "Drop to add to your notes"), h("span", {}, "A .gguf file becomes the model of Chat")),
  );
  document.body.append(veil);
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].some((type) => type === "Files");
  addEventListener("dragover", (event) => {
    if (carries(event)) {
      event.preventDefault();
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
    const files = [...event.dataTransfer.files];
    const models = files.filter(isModel);
    if (!models.length) return app.adding.dropped(event.dataTransfer);
    app.giveModel(models);
    const notes = files.filter((file) => !isModel(file));
    if (notes.length) app.adding.chosen(notes);
  });
}
