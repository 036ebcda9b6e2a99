/** The models tab: what there is, where it comes from, who signed it, what it takes; download, verify, clear. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { bytes, count, day, fingerprint } from "../format.js";
import { MODEL } from "../engine.js";
import { plain } from "../ui/plain.js";

export class ModelsView {
  #busy = new Map();

  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.cards = h("div.models", { "aria-live": "polite" });
    this.store = h("section.store");
    this.element = h(
      "section.view.modelstab",
      { id: "models", "aria-label": "Models" },
      h("h1", {}, "Models"),
      h(
        "p.lead",
        {},
        "One model turns your notes into numbers that can be compared; language models write. A model of this site is fetched once, checked piece by piece against a signed list, and kept in this browser. A file of your own is read where it lies.",
      ),
      this.cards,
      this.store,
    );
    app.engine.phase.watch(({ name, progress }) => this.#phase(name, progress));
    app.language.phase.watch(({ name }) => app.tab === "models" && (name === "ready" || name === "idle") && this.draw());
  }

  opened() {
    return this.draw();
  }

  /** Reads everything again. */
  async draw() {
    try {
      const { loader } = this.app.engine;
      const [listed, cached, usage] = await Promise.all([loader.listModels().catch(() => []), loader.getCachedModels(), loader.usage()]);
      const rows = newest(cached, listed).sort((a, b) => Number(b.id === MODEL) - Number(a.id === MODEL));
      const own = this.app.language.choices.value.filter(({ trust }) => trust === "unsigned");
      fill(
        this.cards,
        rows.length || own.length
          ? [await Promise.all(rows.map((row) => this.#card(row))), own.map((choice) => this.#ownCard(choice))]
          : h("p.quiet", {}, navigator.onLine ? "This site lists no models." : "You are offline, and no model is here yet."),
      );
      this.#showStore(usage);
    } catch (error) {
      fill(this.cards, plain(error));
    }
  }

  async #card(row) {
    const { loader } = this.app.engine;
    const { manifest, error } = await loader.getManifest(row.id).then(
      (manifest) => ({ manifest }),
      (error) => ({ error }),
    );
    const url = row.url ?? new URL(row.manifest ?? "", loader.urls.models).href;
    const facts = [
      [
        "State",
        row.complete ? "on this device, works offline" : row.held ? `${bytes(row.held)} of ${bytes(row.size)} here` : "not downloaded",
      ],
      ["Size", bytes(row.size)],
      ["Kind", [row.type, row.quantization].filter(Boolean).join(", ")],
      manifest && ["Signature", signature(manifest)],
      manifest?.signature && ["Key", h("code", { title: "Fingerprint of the publisher's key" }, fingerprint(manifest.signature.keyId))],
      manifest && ["Source", sources(manifest, url)],
      manifest && [
        "Checked in",
        count(
          Object.values(manifest.artifacts).reduce((sum, { size, chunkSize }) => sum + Math.ceil(size / chunkSize), 0),
          "piece",
        ),
      ],
      manifest?.license && ["Licence", manifest.license],
      row.type === "text-generation" && ["Memory", this.#memory(row.id, manifest?.requirements?.minMemory)],
      row.lastUsed && ["Last used", day(row.lastUsed)],
    ].filter(Boolean);
    const bar = h("progress", { max: "100", hidden: true, "aria-label": `Progress of ${row.name}` });
    const note = h("p.note", { role: "status" });
    const card = h(
      "article.model",
      { data: { id: row.id } },
      h(
        "header",
        {},
        h("h2", {}, row.name ?? row.id),
        this.#tag(row.id),
      ),
      h(
        "dl",
        {},
        facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      ),
      error && plain(error),
      bar,
      note,
      this.#actions(row, bar, note),
    );
    return card;
  }

  #tag(id) {
    const use = id === MODEL ? "used for your notes" : id === this.app.language.chosen.value?.key ? "chosen for Complete and Chat" : null;
    return h(`span.tag${use ? ".on" : ""}`, {}, use ?? "available");
  }

  /** What a language model takes now, or is said to take. */
  #memory(id, needs) {
    const { session, chosen } = this.app.language;
    if (!session || chosen.value.key !== id) return needs ? `not loaded; needs about ${bytes(needs)}` : "not loaded";
    const { modelBytes, kvCacheBytes, arenaBytes = 0 } = session.getMemoryInfo();
    return `loaded: weights ${bytes(modelBytes)}, KV cache ${bytes(kvCacheBytes)}, working space ${bytes(arenaBytes)}`;
  }

  /** A file that the user gave in this visit. */
  #ownCard({ key, name, facts: { architecture, quantization, memory }, size }) {
    const { language } = this.app;
    const loaded = language.session && language.chosen.value.key === key;
    const facts = [
      ["State", "a file of yours: read where it lies, not kept here"],
      ["Size", bytes(size)],
      ["Kind", ["text-generation", architecture, quantization].filter(Boolean).join(", ")],
      ["Signature", signature({})],
      ["Memory", this.#memory(key, memory)],
    ];
    return h(
      "article.model",
      { data: { id: key } },
      h("header", {}, h("h2", {}, name), this.#tag(key)),
      h(
        "dl",
        {},
        facts.map(([fact, value]) => h("div", {}, h("dt", {}, fact), h("dd", {}, value))),
      ),
      h("div.actions", {}, loaded && h("button", { type: "button", onclick: () => language.unload() }, "Free its memory")),
    );
  }

  #actions(row, bar, note) {
    const { loader } = this.app.engine;
    const controller = this.#busy.get(row.id);
    const run = (label, work) => h("button", { type: "button", onclick: () => this.#run(row.id, bar, note, work) }, label);
    return h(
      "div.actions",
      {},
      !row.complete &&
        run("Download", async (options) => {
          await (row.id === MODEL ? this.app.engine.ready() : loader.preload(row.id, options));
          return "Downloaded and checked.";
        }),
      row.held > 0 &&
        run("Verify", async (options) => {
          const { damaged = [], repaired = 0 } = await loader.verify(row.id, options);
          return damaged.length
            ? `${count(damaged.length, "damaged piece")} found, ${repaired} repaired from the source.`
            : "Every piece was hashed again: all as signed.";
        }),
      row.held > 0 &&
        run("Clear", async () => {
          if (
            !(await this.app.ask({
              title: `Clear ${row.name}?`,
              text: `${bytes(row.held)} will be freed. Your notes and what you taught stay; the model is downloaded again when it is needed.`,
              yes: "Clear",
              no: "Keep",
              danger: true,
            }))
          )
            return "";
          if (this.app.language.chosen.value?.key === row.id) await this.app.language.unload();
          await loader.clearCache(row.id);
          return "Cleared.";
        }),
      controller && h("button", { type: "button", onclick: () => controller.abort() }, "Stop"),
    );
  }

  async #run(id, bar, note, work) {
    if (this.#busy.has(id)) return;
    const controller = new AbortController();
    this.#busy.set(id, controller);
    const onProgress = ({ phase, progress, loaded, total }) => {
      bar.hidden = false;
      bar.value = progress;
      note.textContent = `${PHASES[phase] ?? phase}\u2026 ${total ? `${bytes(loaded)} of ${bytes(total)}` : ""}`;
    };
    try {
      note.textContent = (await work({ signal: controller.signal, onProgress })) || "";
    } catch (error) {
      fill(note, controller.signal.aborted ? "Stopped. What arrived is kept." : plain(error));
    }
    this.#busy.delete(id);
    const said = [...note.childNodes];
    await this.draw();
    this.cards.querySelector(`[data-id="${CSS.escape(id)}"] .note[role]`)?.replaceChildren(...said);
  }

  #phase(name, progress) {
    if (this.app.tab !== "models") return;
    if (name === "ready" || name === "failed") this.draw();
    const bar = this.cards.querySelector(`[data-id="${MODEL}"] progress`);
    if (bar && name === "loading" && progress) {
      bar.hidden = false;
      bar.value = progress.progress;
    }
  }

  async #showStore({ bytes: held, usage, quota, persisted }) {
    const answer = persisted
      ? "The browser promised to keep all of it."
      : this.app.persisted.value === false
        ? "The browser declined to promise it: when the disk is full it may clear this page's data. Keep a backup."
        : "The browser was not asked yet to keep it for good.";
    fill(
      this.store,
      h("h2", {}, "Kept in this browser"),
      h(
        "dl",
        {},
        [
          ["Models", bytes(held)],
          ["This page in all", bytes(usage ?? 0)],
          ["Room", quota ? bytes(quota) : "unknown"],
        ].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      ),
      h("p.note", { role: "status" }, answer),
      h(
        "div.actions",
        {},
        !persisted &&
          h(
            "button",
            {
              type: "button",
              onclick: async () => {
                await this.app.persist(true);
                this.draw();
              },
            },
            icon("lock"),
            "Ask the browser to keep it",
          ),
        h("button.danger", { type: "button", onclick: () => this.#clearAll() }, icon("trash"), "Clear all models"),
      ),
    );
  }

  async #clearAll() {
    if (
      !(await this.app.ask({
        title: "Clear all models?",
        text: "Your notes and what you taught stay. Models are downloaded again when they are needed.",
        yes: "Clear",
        no: "Keep",
        danger: true,
      }))
    )
      return;
    await this.app.language.unload();
    await this.app.attempt(() => this.app.engine.loader.clearAllCache());
    await this.draw();
  }
}

export const PHASES = {
  manifest: "Reading the signed list",
  download: "Downloading",
  verify: "Checking",
  compile: "Preparing",
  read: "Reading the weights",
  warmup: "Warming up",
  python: "Loading Python",
};

/**
 * One row for each model: what the site says of its newest version, which is the one that is used, or of the version that is here.
 * @param {any[]} cached @param {any[]} listed the newest version of a model first
 */
export function newest(cached, listed) {
  const one = (rows, id) => rows.find((row) => row.id === id);
  return [...new Set([...cached, ...listed].map(({ id }) => id))].map((id) => {
    const here = one(cached, id);
    const version = listed.find((row) => row.id === id && (!here || row.version === here.version));
    return { ...one(listed, id), ...here, quantization: (version ?? here)?.quantization };
  });
}

/** A manifest with a signature that is not valid, or by a stranger, is never handed out: the error stands there instead. */
const signature = ({ signature: signed }) =>
  h(`span.verdict.${signed ? "good" : "bad"}`, {}, icon(signed ? "yes" : "no"), signed ? "valid, by a key this site trusts" : "unsigned");

const sources = (manifest, url) =>
  manifest.sources
    .map(
      ({ type, baseUrl, gateways }) =>
        `${type}: ${baseUrl ? new URL(baseUrl, url).host : (gateways ?? []).map((gateway) => new URL(gateway).host).join(", ")}`,
    )
    .join("; ");
