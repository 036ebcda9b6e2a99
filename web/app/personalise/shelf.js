/**
 * The adapters that are kept for the chosen model: which are on and at what scale, or chosen by what is asked, names, deletion with a way back, export, import, merging.
 * Knows no DOM; runs in the page and in Node. The SDK keeps them; here is what is on, for Complete and Chat alike.
 */
import { observable } from "../observable.js";

const USED = "personalise.used"; // settings row: model's key → what is on in it
/** In place of those that are on: each request is answered by the one that was taught something like it. */
export const AUTO = "auto";

/** @typedef {import("../../sdk/adapters.js").SavedAdapter} Saved @typedef {{id: string, scale: number}} Use */

export class AdapterShelf {
  /** @type {import("../observable.js").observable<Saved[]>} */ saved = observable([]);
  /** @type {import("../observable.js").observable<Use[]>} */ used = observable([]);
  /** Whether what is asked chooses. @type {import("../observable.js").observable<boolean>} */ automatic = observable(false);
  #queue = Promise.resolve();
  /** @type {import("../../sdk/into-base.js").MergedModel | null} */ #whole = null;

  /** @param {{language: import("../language/models.js").LanguageModels, db: any, embedder?: () => Promise<any>, onError?: (error: any) => void}} parts `embedder`: the session that tells texts apart, null where there is none */
  constructor({ language, db, embedder = async () => null, onError = () => {} }) {
    Object.assign(this, { language, db, embedder, onError });
    language.phase.watch(({ name }) => {
      if (name === "ready") this.open().catch(this.onError);
      else if (name === "idle") this.#forget();
    });
  }

  #forget() {
    this.saved.set([]);
    this.automatic.set(false);
    this.used.set([]);
  }

  /** What is kept for the model that was loaded, and what was on in it. */
  open() {
    return this.#next(async ({ adapters }) => {
      adapters.router = { embedder: this.embedder };
      await this.#list(adapters);
      const wanted = (await this.#kept())[this.language.chosen.value?.key] ?? [];
      await this.#turn(adapters, wanted === AUTO ? AUTO : wanted.filter(({ id }) => this.get(id)), false);
    });
  }

  /** Whether there is one to be chosen by what is asked: of those that come from elsewhere nobody knows what they were taught. */
  get described() {
    return this.saved.value.some(({ profile }) => profile);
  }

  /** @param {string} id @returns {Saved | undefined} */
  get(id) {
    return this.saved.value.find((one) => one.id === id);
  }

  /** @param {string} id @returns {number | null} the scale it is on at */
  scaleOf(id) {
    return this.used.value.find((one) => one.id === id)?.scale ?? null;
  }

  /** Turns one on at a scale, or off with null; the others stay as they are. @param {string} id @param {number | null} scale */
  use(id, scale) {
    return this.#next(async ({ adapters }) => {
      const others = this.used.value.filter((one) => one.id !== id);
      await this.#turn(adapters, scale === null ? others : [...others, { id, scale }]);
    });
  }

  /** This one alone, AUTO, or none. @param {string | null} id */
  only(id) {
    return this.#next(async ({ adapters }) => {
      await this.#turn(adapters, id === AUTO ? AUTO : id ? [{ id, scale: this.scaleOf(id) ?? 1 }] : []);
    });
  }

  /**
   * Keeps what was trained under its name or the next that is free; it is loaded, and not yet on. What it was taught is kept with it a moment later: the model for that may have to be fetched.
   * @param {any} trained @param {object} more metrics beyond the trainer's @returns {Promise<Saved>}
   */
  keep(trained, more) {
    return this.#next(async ({ adapters }) => {
      const made = await adapters.keep(trained, { name: this.#free(trained.name, trained.id), metrics: { ...trained.metrics, ...more }, embedder: null });
      await adapters.load({ saved: made.id });
      await this.#list(adapters);
      this.#describe(adapters, made.id, trained.sample ?? []).catch(this.onError);
      return made;
    });
  }

  /** For AUTO. Whoever fetches the embedding model tells why it could not be had; meanwhile another model may be here, or the adapter gone. */
  async #describe(adapters, id, sample) {
    const embedder = sample.length ? await this.embedder().catch(() => null) : null;
    if (!embedder || this.language.session?.adapters !== adapters) return;
    await this.#next(async () => {
      if (!this.get(id)) return;
      await adapters.describe(id, sample, { embedder });
      await this.#list(adapters);
    });
  }

  /** @param {string} id @param {string} name */
  rename(id, name) {
    return this.#next(async ({ adapters }) => {
      const now = name.trim();
      if (now && now !== this.get(id)?.name) await adapters.rename(id, now);
      await this.#list(adapters);
    });
  }

  /** Whether it stays loaded once it is, whatever else is used. @param {string} id @param {boolean} pinned */
  pin(id, pinned) {
    return this.#next(async ({ adapters }) => {
      await adapters.pin(id, pinned);
      await this.#list(adapters);
    });
  }

  /** @param {string} id @returns {Promise<() => Promise<void>>} the way back: the same adapter, with what was told of it, on where it was on */
  delete(id) {
    return this.#next(async ({ adapters }) => {
      const [{ name, metrics, profile, pinned }, scale, file] = [this.get(id), this.scaleOf(id), await adapters.export(id, "json")];
      if (scale !== null) await this.#turn(adapters, this.used.value.filter((one) => one.id !== id));
      await adapters.remove(id);
      await this.#list(adapters);
      return () => this.#restore(file, { name: this.#free(name), metrics, profile }, scale, pinned);
    });
  }

  async #restore(file, about, scale, pinned) {
    const { id } = await this.#next(({ adapters }) => adapters.import(file, about));
    if (pinned) await this.pin(id, true);
    await this.#next(({ adapters }) => this.#list(adapters));
    if (scale !== null) await this.use(id, scale);
  }

  /** @param {string} id @param {"peft"|"json"|"gguf"} format @returns {Promise<File>} */
  export(id, format) {
    return this.#next(({ adapters }) => adapters.export(id, format));
  }

  /** An adapter's files: one, or those of a PEFT folder. It keeps its own name where that is free. @param {File[]} files @returns {Promise<Saved>} */
  import(files) {
    return this.#next(async ({ adapters }) => {
      const [source, own] = files.length > 1 ? [{ files }, this.#free("imported")] : [{ file: files[0] }, undefined];
      const made = await adapters.import(source, { name: own }).catch((error) => {
        if (error?.code !== "adapter_exists") throw error;
        return adapters.import(source, { name: this.#free(stem(files[0].name)) });
      });
      await this.#list(adapters);
      return made;
    });
  }

  /** @param {{id: string, weight: number}[]} parts @param {object} how strategy and what it takes @returns {Promise<Saved>} */
  merge(parts, how) {
    return this.#next(async ({ adapters }) => {
      const name = this.#free(parts.map(({ id }) => this.get(id).name).join(" + ").slice(0, 60));
      const made = await adapters.merge(parts, { ...how, name });
      await this.#list(adapters);
      return made;
    });
  }

  /**
   * The model with one of them in its weights, as a file on disk. It takes long, and nothing waits for it; the file made before goes.
   * @param {string} id @param {number} scale @param {object} how as `mergeIntoBase` takes it @returns {Promise<import("../../sdk/into-base.js").MergedModel>}
   */
  async whole(id, scale, how) {
    const { adapters } = await this.language.ready();
    await this.#whole?.discard();
    this.#whole = null;
    return (this.#whole = await adapters.mergeIntoBase({ id, weight: scale }, { strategy: "task_arithmetic", ...how }));
  }

  /** Loads the file made last, which stays for it, in place of the model. */
  async useWhole() {
    const { file } = this.#whole;
    this.#whole = null;
    await this.language.give([file]);
    await this.language.ready();
  }

  async #list(adapters) {
    this.saved.set(await adapters.saved());
  }

  /** What requests use from now on; each is loaded first, of AUTO when it is chosen. It is told once it is kept, if it is to be: what is seen is so after a reload. */
  async #turn(adapters, wanted, keep = true) {
    const before = new Set(this.used.value.map(({ id }) => id));
    const named = wanted === AUTO ? [] : wanted;
    for (const { id } of named) if (!before.has(id)) await adapters.load({ saved: id });
    adapters.use(wanted);
    if (keep) await this.db.write([{ put: "settings", key: USED, value: { ...(await this.#kept()), [this.language.chosen.value.key]: wanted } }]);
    this.automatic.set(wanted === AUTO);
    this.used.set(named);
  }

  async #kept() {
    return (await this.db.read("settings", USED)) ?? {};
  }

  /** The name, or the next that nobody has: "mine", "mine 2". @param {string} name @param {string} [own] whose name it may be already */
  #free(name, own) {
    const taken = new Set(this.saved.value.filter(({ id }) => id !== own).map((one) => one.name));
    for (let n = 1; ; n++) {
      const one = n > 1 ? `${name} ${n}` : name;
      if (!taken.has(one)) return one;
    }
  }

  /** One change after another, with the model loaded. */
  #next(work) {
    const result = this.#queue.then(async () => work(await this.language.ready()));
    this.#queue = result.then(
      () => {},
      () => {},
    );
    return result;
  }
}

/** ("mine.zip") → "mine". @param {string} name */
const stem = (name) => name.replace(/\.\w+$/, "");
