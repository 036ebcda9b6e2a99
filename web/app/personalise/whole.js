/** A kept adapter written into the model itself: how, the file as it grows, what it is worth, and the file. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { bytes } from "../format.js";
import { download } from "../library/adding.js";
import { dialog } from "../ui/dialog.js";
import { plain, stopped } from "../ui/plain.js";

/** What the weights that change can become; "": each stays as it is. Those of docs/merging.md that are worth a choice. */
const TYPES = { "": "As they are", q8_0: "8 bits (Q8_0)", f16: "16 bits (F16)", f32: "32 bits (F32)" };
const SAFE = "q8_0";
/** Quantisations that are read and not written. */
const UNWRITTEN = /^(Q\d_K|IQ)/i;
/** Phase of the progress → what is said. */
const PHASES = { merge: "Getting ready", evaluate: "Measuring", write: "Writing" };

/** @param {any} app @param {import("./shelf.js").Saved} one */
export function wholeDialog(app, one) {
  const form = new WholeForm(app, one, () => box.close());
  const box = dialog("Save as a whole model", form.element);
  box.addEventListener("close", () => form.stop());
}

class WholeForm {
  #controller = /** @type {AbortController | null} */ (null);

  /** @param {any} app @param {import("./shelf.js").Saved} one @param {() => void} close */
  constructor(app, one, close) {
    Object.assign(this, { app, one, close });
    this.held = heldOf(app.material);
    const options = Object.entries(TYPES).map(([value, label]) => h("option", { value }, label));
    this.type = h("select", {}, options);
    this.type.value = UNWRITTEN.test(app.language.chosen.value?.facts.quantization ?? "") ? SAFE : "";
    this.scale = h("input", { type: "number", min: 0.05, max: 2, step: 0.05, value: app.adapters.scaleOf(one.id) || 1, required: true });
    this.measure = h("input", { type: "checkbox", checked: true });
    this.bar = h("progress", { max: "1", "aria-label": "The new file" });
    this.said = h("p.note", { role: "status" });
    this.actions = h("div.actions");
    this.element = this.#form();
    this.#rest();
  }

  #form() {
    const onsubmit = (event) => {
      event.preventDefault();
      this.#make();
    };
    const field = (label, input, help) => h("label", {}, h("span", {}, label), input, h("small", {}, help));
    return h(
      "form.merge",
      { onsubmit, onchange: () => this.#controller || this.#rest() },
      h("p", {}, `\u201c${this.one.name}\u201d is written into a copy of the model: one GGUF file that needs no adapter, for EdgeNet, llama.cpp and others.`),
      field("How much of it", this.scale, "1 is as it was learned."),
      field("Weights that change become", this.type, "Few bits take up small changes badly; how badly is told afterwards."),
      this.held.length > 0 && h("div", {}, h("label.check", {}, this.measure, "Measure it on your texts; the new model is loaded for a moment")),
      this.bar,
      this.said,
      this.actions,
    );
  }

  /** Nothing is under way, or something else is wanted. */
  #rest() {
    this.#controller = null;
    this.bar.hidden = true;
    this.#offer(h("button.primary", { type: "submit" }, "Save"));
  }

  /** What can be done now; the focus stays among it. @param {...HTMLButtonElement} buttons */
  #offer(...buttons) {
    const held = this.actions.contains(document.activeElement);
    fill(this.actions, buttons);
    if (held) buttons[0].focus();
  }

  /** Also when the dialog is closed. */
  stop() {
    this.#controller?.abort();
  }

  async #make() {
    if (this.#controller) return;
    const { signal } = (this.#controller = new AbortController());
    const evaluate = this.held.length && this.measure.checked ? this.held : undefined;
    this.bar.hidden = false;
    this.#offer(h("button", { type: "button", onclick: () => this.stop() }, icon("stop"), "Stop"));
    try {
      const how = { type: this.type.value || undefined, evaluate, signal, onProgress: (event) => this.#tell(event) };
      this.#made(await this.app.adapters.whole(this.one.id, this.scale.valueAsNumber, how));
    } catch (error) {
      this.#rest();
      fill(this.said, this.#wordsOf(error));
    }
  }

  /** @param {any} error */
  #wordsOf(error) {
    if (stopped(error)) return "Stopped. Nothing was kept of it.";
    if (error?.code !== "tensor_type_unsupported") return plain(error);
    this.type.value = SAFE;
    return "Weights of this model\u2019s type can be read and not written. 8 bits were chosen for those that change: save again.";
  }

  #tell({ phase, loaded, total }) {
    const words = PHASES[phase] ?? "Measuring the new model";
    if (PHASES[phase] && total) this.bar.value = loaded / total;
    else this.bar.removeAttribute("value");
    const text = phase === "write" ? `${words}: ${bytes(loaded)} of ${bytes(total)}` : `${words}\u2026`;
    if (this.said.textContent !== text) fill(this.said, text);
  }

  /** @param {import("../../sdk/into-base.js").MergedModel} made */
  #made({ file, report, evaluation }) {
    this.#controller = null;
    this.bar.hidden = true;
    fill(this.said, figuresOf(file, report, evaluation).map((line) => h("span.figure", {}, line)));
    this.#offer(
      h("button.primary", { type: "button", onclick: () => download(file, file.name) }, icon("save"), "Download"),
      h("button", { type: "button", onclick: () => this.#use() }, "Load it here"),
    );
  }

  /** In place of the model that it was made of. */
  #use() {
    this.close();
    return this.app.attempt(() => this.app.adapters.useWhole());
  }
}

/** Texts that were held back of what was given; none where nothing is given. @param {import("./material.js").Material} material */
const heldOf = (material) => (material.pieces.value.length ? material.split().held : []);

/** @param {File} file @param {import("../../sdk/into-base.js").IntoBaseReport} report @param {import("../../sdk/into-base.js").MergedModel["evaluation"]} evaluation */
function figuresOf(file, { error }, evaluation) {
  const bits = evaluation && ["before", "adapter", "after"].map((when) => evaluation[when]?.bitsPerByte.toFixed(2) ?? "not measured");
  return [
    `${file.name} has ${bytes(file.size)}.`,
    `Its weights leave out ${(100 * error).toFixed(1)} % of the change${error > 0.5 ? ": take more bits for them, or keep the adapter apart" : ""}.`,
    bits && `Bits per byte of what was held back: ${bits[0]} before, ${bits[1]} with the adapter, ${bits[2]} as a whole model.`,
  ].filter(Boolean);
}
