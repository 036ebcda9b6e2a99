/**
 * The one language model that Complete and Chat share: which it is, what it needs, its loading by phase, its session. Knows no DOM; runs in the
 * page and in Node. Nothing is fetched before `open`, and no weights before `ready`; choosing another model frees the one before.
 */
import { ModelTooLarge, NoModel, NotSupported } from "../../sdk/errors.js";
import { inspectGguf } from "../../sdk/gguf-file.js";
import { bytes } from "../format.js";
import { observable } from "../observable.js";
import { stopped } from "../ui/plain.js";

/**
 * @typedef {{architecture: string|null, parameters: number|null, quantization: string|null, context: number|null, memory: number|null, chat: boolean|null}} Facts null: not known before loading
 * @typedef {object} Choice
 * @property {string} key the site's id, or the files' names and sizes
 * @property {string} name
 * @property {number} size bytes
 * @property {"signed"|"unsigned"} trust
 * @property {string | {file: File} | {files: File[]}} source what the loader takes
 * @property {Facts} facts
 * @typedef {{name: "idle"|"loading"|"ready"|"failed"|"cancelled", step?: string, part?: {loaded: number, total: number, unit: "bytes"|"parts"} | null, error?: any}} Phase `part` of this step; null where it has no measure
 */

const CHOSEN = "language"; // settings row: the key chosen last
/** Step of loading → what is counted in it; others have no measure. @type {Record<string, "bytes"|"parts">} */
const MEASURED = { download: "bytes", verify: "bytes", read: "bytes", python: "parts" };

export class LanguageModels {
  /** @type {import("../observable.js").observable<Choice[]>} */ choices = observable([]);
  /** @type {import("../observable.js").observable<Choice | null>} */ chosen = observable(null);
  /** @type {import("../observable.js").observable<Phase>} */ phase = observable({ name: "idle" });
  /** @type {import("../../sdk/language-session.js").LanguageSession | null} */ session = null;
  /** Name of a file that was used in an earlier visit and must be given again. @type {string | null} */ missing = null;
  /** Whether `chosen` was decided yet. */
  known = false;
  #opening = null;
  #starting = null;
  #controller = null;

  /** @param {{loader: any, db: any, inspect?: typeof inspectGguf, fetch?: typeof globalThis.fetch}} parts */
  constructor({ loader, db, inspect = inspectGguf, fetch = (...args) => globalThis.fetch(...args) }) {
    Object.assign(this, { loader, db, inspect, fetch });
  }

  /** Lists the site's models and takes the one chosen last; one that is kept here is loaded at once. Concurrent callers share it. */
  open() {
    return (this.#opening ??= this.#open());
  }

  async #open() {
    const [rows, last] = await Promise.all([this.#listed(), this.db.read("settings", CHOSEN)]);
    this.choices.set([...this.choices.value, ...(await Promise.all(rows.map((row) => this.#published(row))))]);
    this.known = true;
    if (this.chosen.value) return; // a file was given meanwhile
    const known = this.choices.value.find(({ key }) => key === last?.key);
    if (last && !known) this.missing = last.name;
    this.chosen.set(known ?? this.choices.value[0] ?? null);
    if (this.chosen.value && (await this.loader.isCached(this.chosen.value.key).catch(() => false))) this.ready().catch(() => {}); // the phase shows it
  }

  /** Without a network and without a copy there is none; the next `open` asks again. */
  #listed() {
    return this.loader.listModels({ type: "text-generation" }).catch(() => {
      this.#opening = null;
      return [];
    });
  }

  /** A model of the site, described by its manifest; whether it chats is only a hint, so it is taken from a file that nobody verified. @returns {Promise<Choice>} */
  async #published({ id, name, size, manifest }) {
    const told = await this.loader.getManifest(id).catch(() => null);
    const facts = {
      architecture: told?.family ?? null,
      parameters: null,
      quantization: told?.optimization?.quantization ?? null,
      context: told?.architecture?.contextLength ?? null,
      memory: told?.requirements?.minMemory || null,
      chat: await this.#chats(told, manifest),
    };
    return { key: id, name: name ?? id, size, trust: "signed", source: id, facts };
  }

  async #chats(told, manifest) {
    const file = told?.artifacts?.generation?.filename;
    if (!file) return null;
    const url = new URL(file, new URL(manifest, new URL("index.json", this.loader.urls.models)));
    return this.fetch(url)
      .then((answer) => answer.json())
      .then(
        ({ chatTemplate }) => Boolean(chatTemplate),
        () => null,
      );
  }

  /**
   * A GGUF file of the user's own, or all parts of a split one: read as far as its header, described, chosen. It is not loaded yet.
   * @param {File[]} files @returns {Promise<Choice>} @throws {InvalidGguf|UnsupportedTensorType|ModelTooLarge} what was chosen before stays
   */
  async give(files) {
    const parts = [...files].sort((a, b) => a.name.localeCompare(b.name));
    const told = await this.inspect(parts);
    const { memory, architecture, parameters, quantization, context, chatTemplate, size } = told;
    const name = told.name || parts[0].name.replace(/\.gguf$/i, "");
    if (memory && memory.total > memory.limit)
      throw new ModelTooLarge(
        `"${name}" needs ${bytes(memory.total)} of memory, and a browser tab's engine can have ${bytes(memory.limit)}. Nothing was loaded. Take a smaller model, or this one in fewer bits (such as Q4_0).`,
        { needed: memory.total, limit: memory.limit },
      );
    const key = parts.map((part) => `${part.name} (${part.size})`).join(", ");
    const facts = { architecture, parameters, quantization, context: memory?.context ?? context, memory: memory?.total ?? null, chat: chatTemplate };
    const choice = { key, name, size, trust: "unsigned", source: parts.length > 1 ? { files: parts } : { file: parts[0] }, facts };
    this.choices.set([choice, ...this.choices.value.filter((other) => other.key !== key)]);
    await this.#take(choice);
    return choice;
  }

  /** @param {string} key of a choice */
  async choose(key) {
    const choice = this.choices.value.find((one) => one.key === key);
    if (choice && choice !== this.chosen.value) await this.#take(choice);
  }

  async #take(choice) {
    const freed = this.unload();
    this.missing = null;
    this.known = true;
    this.chosen.set(choice); // at once: of two that are chosen quickly the later stays
    await freed;
    const { key, name } = this.chosen.value;
    await this.db.write([{ put: "settings", key: CHOSEN, value: { key, name } }]);
  }

  /** The session of the chosen model; loads it if need be. Concurrent callers share one load. @throws what the loader throws; NoModel when none is chosen */
  ready() {
    return (this.#starting ??= this.#start());
  }

  async #start() {
    const mine = (this.#controller = new AbortController());
    const current = () => this.#controller === mine;
    try {
      if (!this.known) await this.open(); // who is quicker than the list waits for it
      const choice = this.chosen.value;
      if (!choice) throw new NoModel("No language model is chosen. Choose a GGUF file, or a model of this site.");
      this.phase.set({ name: "loading", step: "manifest", part: null });
      const onProgress = (event) => current() && this.#progress(event);
      const session = await this.loader.load(choice.source, { signal: mine.signal, onProgress });
      await this.#accept(session, mine.signal);
      this.session = session;
      this.phase.set({ name: "ready" });
      return session;
    } catch (error) {
      if (current()) {
        this.#starting = null;
        this.phase.set(stopped(error) ? { name: "cancelled" } : { name: "failed", error });
      }
      throw error;
    }
  }

  /** One that came too late, or writes no text, is given back. */
  async #accept(session, signal) {
    if (!signal.aborted && session.operations.includes("generate")) return;
    await session.dispose();
    signal.throwIfAborted();
    throw new NotSupported(
      `"${session.manifest.name}" is an encoder: it turns text into numbers and writes none. Choose a model that was made to write, such as one of the llama or qwen families.`,
      { type: session.type },
    );
  }

  #progress({ phase, loaded, total }) {
    const part = MEASURED[phase] && total ? { loaded: Math.min(loaded, total), total, unit: MEASURED[phase] } : null;
    this.phase.set({ name: "loading", step: phase, part });
  }

  /** Stops a running load; what was downloaded is kept. */
  cancel() {
    this.#controller?.abort();
  }

  /** Frees the model's memory, and stops its loading. */
  async unload() {
    const session = this.session;
    this.#controller?.abort();
    this.#controller = this.#starting = this.session = null;
    this.phase.set({ name: "idle" });
    await session?.dispose();
  }

  /** Whether the chosen model can chat; null when that is not known before it is loaded. @returns {boolean | null} */
  get chats() {
    return this.session ? this.session.info.chat : (this.chosen.value?.facts.chat ?? null);
  }
}
