/** The app: its parts, its tabs and what several parts need. Runs in the page. */
import { Chat } from "./chat/chat.js";
import { Conversations } from "./chat/conversations.js";
import { ChatView } from "./chat/view.js";
import { Completer } from "./complete/completer.js";
import { CompleteView } from "./complete/view.js";
import { fill, h } from "./dom.js";
import { Engine } from "./engine.js";
import { bytes, count } from "./format.js";
import { LanguageModels } from "./language/models.js";
import { partOf } from "./language/report.js";
import { Adding } from "./library/adding.js";
import { CHATS, CHAT_STORES, openDatabase, vectorsOf } from "./library/db.js";
import { Library } from "./library/library.js";
import { LibraryView } from "./library/view.js";
import { Worklist } from "./library/worklist.js";
import { ModelsView, PHASES } from "./models/view.js";
import { observable } from "./observable.js";
import { BUSY, Course } from "./personalise/course.js";
import { Material } from "./personalise/material.js";
import { AdapterShelf } from "./personalise/shelf.js";
import { PersonaliseView } from "./personalise/view.js";
import { SearchView } from "./search/view.js";
import { Searcher } from "./search/searcher.js";
import { Shelf } from "./search/shelf.js";
import { Teacher } from "./teach/teacher.js";
import { TeachView } from "./teach/view.js";
import { Activity } from "./ui/activity.js";
import { ask } from "./ui/dialog.js";
import { watchDrops } from "./ui/drops.js";
import { frame } from "./ui/frame.js";
import { listenToKeys } from "./ui/keys.js";
import { stopped } from "./ui/plain.js";
import { Toasts } from "./ui/toast.js";
import { wordsBefore } from "./ui/update.js";

class App {
  tab = "search";
  skipped = observable([]);
  remarks = observable([]);
  /** What the browser said to `persist`: null before it was asked. */
  persisted = observable(null);
  toasts = new Toasts();
  activity = new Activity();
  engine = new Engine();
  ask = ask;

  async open() {
    [this.db, this.chats] = await Promise.all([openDatabase(), openDatabase(CHATS, CHAT_STORES)]);
    this.library = await new Library(this.db, vectorsOf).open();
    this.searcher = new Searcher(this.engine);
    this.shelf = new Shelf(this.library, this.engine);
    this.shelf.onError = (error) => this.toasts.error(error);
    this.worklist = new Worklist(this.library, this.engine);
    this.teacher = new Teacher({ engine: this.engine, searcher: this.searcher, library: this.library, db: this.db });
    this.adding = new Adding(this);
    await this.#openLanguage();
    this.searchView = new SearchView(this);
    this.views = {
      search: this.searchView,
      library: new LibraryView(this),
      teaching: new TeachView(this),
      complete: new CompleteView(this),
      chat: new ChatView(this),
      personalise: new PersonaliseView(this),
      models: new ModelsView(this),
    };
    await Promise.all([this.views.complete.restore(), this.views.chat.restore()]);
    for (const kind of ["fallback", "notice"])
      this.engine.loader.addEventListener(kind, ({ detail }) => this.remarks.set([...this.remarks.value, detail]));
    this.engine.prepare = () => this.#prepare();
    this.engine.phase.watch(({ name }) => name === "ready" && this.worklist.start());
    this.worklist.state.watch(({ state, error }) => {
      if (state === "failed" && error !== this.engine.phase.value.error)
        this.toasts.error(
          error,
          retry(() => this.worklist.start()),
        );
      if (state === "idle") this.#indexed();
    });
  }

  async #openLanguage() {
    this.language = new LanguageModels({ loader: this.engine.loader, db: this.chats });
    this.completer = new Completer(this.language);
    this.conversations = await new Conversations(this.chats, { channel: new BroadcastChannel(CHATS) }).open();
    this.chat = new Chat(this.language, this.conversations);
    this.adapters = new AdapterShelf({ language: this.language, db: this.chats, embedder: () => this.engine.ready(), onError: (error) => this.toasts.error(error) });
    this.course = new Course({ language: this.language, shelf: this.adapters, db: this.chats });
    this.material = await new Material(this.chats).open();
  }

  /** Before the first answer: marks of earlier visits known, all ready documents in the index. */
  async #prepare() {
    const changed = await this.library.reindexFor(this.engine.model);
    if (changed) this.toasts.say(`${count(changed, "document")} will be read again: the model is another version.`);
    await this.teacher.open();
    this.attempt(() => this.teacher.forgetPurged()); // not awaited: it needs the engine, which is ready after this
    await this.shelf.fill();
  }

  /** New documents may answer the question that stands in the box. */
  async #indexed() {
    await this.shelf.sync([]);
    this.searcher.again().catch(() => {}); // the next key asks anew
  }

  /** @param {"search"|"library"|"teaching"|"complete"|"chat"|"personalise"|"models"} tab */
  go(tab) {
    if (this.tab === tab) return false;
    this.tab = tab;
    this.show();
    this.views[tab].opened?.();
    return true;
  }

  /** A GGUF file, or the parts of one: to the tab where it can be used. @param {File[]} files */
  giveModel(files) {
    return this.attempt(async () => {
      const { facts } = await this.language.give(files);
      if (this.tab !== "personalise") this.go(facts.chat ? "chat" : "complete");
      this.language.ready().catch(() => {}); // the model bar shows it
    });
  }

  addSamples() {
    this.go("search");
    return this.attempt(() => this.adding.samples());
  }

  /** Runs something the user asked for; a failure is shown, not thrown. @template T @param {() => Promise<T>} work @returns {Promise<T | undefined>} */
  async attempt(work) {
    try {
      return await work();
    } catch (error) {
      if (!stopped(error)) this.toasts.error(error);
    }
  }

  /** @param {number} [n] the last one when none is given */
  async undoMark(n) {
    if (!this.teacher.state.value.marks.length) return this.toasts.say("There is no mark to undo.");
    await this.attempt(async () => {
      await this.teacher.undo(n);
      this.searchView.forget();
      this.toasts.say("Mark taken back.");
    });
  }

  /** @param {string[]} ids */
  async deleteDocuments(ids) {
    const deleted = await this.attempt(() => this.library.delete(ids));
    if (!deleted) return;
    const still = () => ids.filter((id) => this.library.all.get(id)?.deletedAt);
    const gone = () =>
      this.attempt(async () => {
        await this.library.purge(still());
        await this.teacher.forgetPurged();
      });
    this.toasts.say(
      `${count(deleted.count, "document")} deleted.`,
      { label: "Undo", run: () => this.attempt(deleted.undo).then(() => this.worklist.start()) },
      gone,
    );
  }

  async deleteAll() {
    const ids = this.library.documents.map(({ id }) => id);
    if (
      ids.length &&
      (await ask({
        title: "Delete all documents?",
        text: `${count(ids.length, "document")} and what was computed from them. Save a backup first if you may want them back.`,
        yes: "Delete",
        no: "Keep",
        danger: true,
      }))
    )
      await this.deleteDocuments(ids);
  }

  /** Asks the browser to keep the store once there is something to lose. @param {boolean} [again] also when it was asked before */
  async persist(again = false) {
    if (this.persisted.value !== null && !again) return;
    const { persisted } = await this.engine.loader.persist().catch(() => ({ persisted: false }));
    this.persisted.set(persisted);
  }

  status() {
    return this.engine.loader.status();
  }
}

const retry = (run) =>
  h(
    "button",
    {
      type: "button",
      onclick: ({ target }) => {
        target.closest(".toast").remove();
        run();
      },
    },
    "Try again",
  );

/** What runs in the background, as cards. @param {App} app */
function followWork(app) {
  app.activity.follow(app.engine.phase, ({ name, progress }) =>
    name !== "loading"
      ? null
      : {
          title: "Getting the model ready",
          percent: progress?.progress ?? null,
          cancel: () => app.engine.cancel(),
          text: progress
            ? `${PHASES[progress.phase] ?? ""} ${progress.phase === "download" && progress.total ? `${bytes(progress.loaded)} of ${bytes(progress.total)}` : ""}`
            : "",
        },
  );
  app.activity.follow(app.worklist.state, ({ state, progress }) =>
    state !== "running" || !progress
      ? null
      : {
          title: "Reading your documents",
          percent: 100 * progress.share,
          cancel: () => app.worklist.pause(),
          text: `${progress.done.toLocaleString("en")} of ${count(progress.of, "document")}`,
        },
  );
  app.activity.follow(app.teacher.state, ({ phase, progress }) =>
    phase !== "starting"
      ? null
      : {
          title: "Starting the teacher\u2026",
          percent: progress?.progress ?? null,
          cancel: () => app.teacher.cancel(),
          text: progress?.total ? `${bytes(progress.loaded)} of ${bytes(progress.total)}` : "once; it is kept",
        },
  );
  app.activity.follow(app.language.phase, ({ name, step, part }) =>
    name !== "loading" || ["complete", "chat", "personalise"].includes(app.tab) // there the model bar tells it
      ? null
      : {
          title: "Loading the language model",
          percent: part && (100 * part.loaded) / part.total,
          cancel: () => app.language.cancel(),
          text: `${PHASES[step] ?? ""} ${partOf(part)}`,
        },
  );
  app.activity.follow(app.course.now, ({ phase, step, of }) =>
    !BUSY.has(phase) || app.tab === "personalise"
      ? null
      : { title: "Learning from your texts", percent: of ? (100 * step) / of : null, cancel: () => app.course.stop(), text: of ? `step ${step} of ${of}` : "" },
  );
  app.engine.phase.watch(({ name, error }) => {
    if (name === "failed")
      app.toasts.error(
        error,
        retry(() => app.attempt(() => app.engine.ready())),
      );
    if (name === "cancelled")
      app.toasts.say("Loading was stopped. What arrived is kept.", { label: "Go on", run: () => app.attempt(() => app.engine.ready()) });
  });
}

/**
 * Builds the page in `root`.
 * @param {HTMLElement} root @param {{theme: HTMLElement, update: HTMLElement, notice: {code: string, reason: string} | null}} around
 */
export async function start(root, { theme, update, notice }) {
  const app = new App();
  await app.open();
  if (notice) app.remarks.set([notice]);
  fill(root, frame(app, theme, update));
  app.show();
  followWork(app);
  listenToKeys(app);
  watchDrops(app);
  const words = wordsBefore();
  if (words) app.searchView.ask(words);
  if (matchMedia("(hover: hover)").matches) app.searchView.input.focus({ preventScroll: true });
  if (app.library.all.size) app.engine.ready().catch(() => {}); // the phase shows it
}
