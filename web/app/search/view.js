/** The search tab: the box, the results, the document beside them, what a mark changed. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { plain, stopped } from "../ui/plain.js";
import { count } from "../format.js";
import { dialog } from "../ui/dialog.js";
import { glide } from "../ui/glide.js";
import { card } from "./card.js";
import { noResults, startHere, welcome } from "./empty.js";
import { reader, reveal } from "./reader.js";
import { changePanel, keyHint, summary } from "./side.js";

const CLOSE = 0.22; // cosine from which unrelated texts of this model are rare
const SURE = 4; // shown however weak: the user may have to mark one of them

export class SearchView {
  #selected = 0;
  #moved = new Map();
  #texts = new Map();
  #drawing = 0;
  #opened = null;
  /** The outcome that the list shows. @type {import("./searcher.js").Outcome} */
  #drawn = { state: "empty", query: "", found: [] };
  #everything = false;
  #due = null;
  /** Shown before for this query: a mark may move them, never hide them. */
  #kept = new Set();

  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.input = h("input", {
      id: "query",
      type: "search",
      autocomplete: "off",
      spellcheck: "false",
      enterkeyhint: "search",
      placeholder: "Search your notes by meaning",
      "aria-label": "Search your notes by meaning",
      "aria-describedby": "summary",
      oninput: () => this.#typed(),
    });
    this.summary = h("p.summary", { id: "summary", role: "status", "aria-live": "polite" });
    this.list = h("ol.results", { "aria-label": "Results" });
    this.side = h("div.side", { "aria-label": "Document" });
    this.element = h(
      "section.view.search",
      { id: "search", "aria-label": "Search" },
      h("div.box", {}, icon("search"), this.input, h("kbd", { "aria-hidden": "true" }, "/")),
      this.summary,
      h("div.columns", {}, this.list, this.side),
    );
    app.searcher.outcome.watch((outcome) => this.#show(outcome));
    app.library.addEventListener("change", ({ detail }) => this.#libraryChanged(detail));
    app.engine.phase.watch(() => this.#summarise());
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  ask(query) {
    this.input.value = query;
    this.#typed();
    this.input.focus();
  }

  #typed() {
    this.#selected = 0;
    this.#moved = new Map();
    this.#everything = false;
    this.#kept = new Set();
    this.app.searcher.type(this.input.value);
  }

  #libraryChanged({ changed, removed }) {
    [...changed, ...removed].forEach((id) => this.#texts.delete(id));
    if (removed.includes(this.#opened)) this.close();
    this.#due ??= setTimeout(() => this.#redraw(), 150); // thousands of changes may come in a row
  }

  #redraw() {
    this.#due = null;
    if (this.app.searcher.outcome.value.state === "empty") this.#show(this.app.searcher.outcome.value);
    this.#summarise();
  }

  /** What is shown: all that is close, the first few in any case, the rest when asked for. */
  get found() {
    const { found } = this.app.searcher.outcome.value;
    return found.filter(
      ({ id, score }, i) =>
        this.app.library.all.get(id)?.state === "ready" && (this.#everything || this.#kept.has(id) || i < SURE || score >= CLOSE),
    );
  }

  /** Draws only complete answers, so that the list never flickers; the number tells whether a newer one overtook this one. */
  async #show(outcome) {
    if (outcome.state === "busy") return this.#summarise();
    const mine = ++this.#drawing;
    const found = this.found;
    if (!found.length) return this.#showNothing(outcome);
    const words = await Promise.all(found.map((one) => this.#words(one)));
    if (mine !== this.#drawing) return;
    found.forEach(({ id }) => this.#kept.add(id));
    const cards = found.map((one, i) => this.#card(one, i, words[i], outcome.query));
    const hidden = outcome.found.length - found.length;
    const more =
      hidden > 0 &&
      h(
        "li.rest",
        {},
        h(
          "button.quiet",
          {
            type: "button",
            onclick: () => {
              this.#everything = true;
              this.#show(this.app.searcher.outcome.value);
            },
          },
          `Show ${count(hidden, "weaker match", "weaker matches")}`,
        ),
      );
    glide(this.list, () => fill(this.list, cards, more));
    this.#drawn = outcome;
    this.#summarise();
    if (!this.#opened) this.#showHint();
  }

  #card(found, i, words, query) {
    const about = {
      document: this.app.library.get(found.id),
      words,
      query,
      position: i + 1,
      mark: this.app.teacher.of(query, found.id),
      moved: this.#moved.get(found.id),
      selected: i === this.#selected,
    };
    return card(found, about, {
      open: () => this.open(i),
      mark: (relevant) => {
        this.#selected = i;
        this.mark(relevant);
      },
    });
  }

  async #words({ id, row }) {
    if (!this.#texts.has(id))
      this.#texts.set(
        id,
        this.app.library.text(id).catch(() => ""),
      );
    const { start, end } = this.app.library.all.get(id).passages[row];
    return (await this.#texts.get(id))
      .slice(start, end)
      .replace(/^(#{1,6}|[-*\u2022]) +/gm, "")
      .replace(/\s+/g, " ");
  }

  #showNothing(outcome) {
    const { state, error, query } = outcome;
    this.#drawn = outcome;
    this.#summarise();
    const { library } = this.app;
    const about =
      state === "failed"
        ? plain(error)
        : state === "done"
          ? noResults(query, library)
          : library.size
            ? startHere(this.app)
            : welcome(this.app);
    fill(this.list, h("li.nothing", {}, about));
    if (!this.#opened) fill(this.side);
    this.element.classList.toggle("bare", true);
  }

  #showHint() {
    this.element.classList.toggle("bare", false);
    if (this.side.childElementCount) return;
    fill(this.side, keyHint());
  }

  #summarise() {
    const now = this.app.searcher.outcome.value;
    const { state, query, ms } = now.state === "busy" ? now : this.#drawn; // never ahead of the list
    const { name, progress } = this.app.engine.phase.value;
    const { library } = this.app;
    const text = summary(state, {
      query,
      ms,
      shown: this.found.length,
      documents: library.size,
      waiting: library.waiting.length,
      name,
      progress,
    });
    if (this.summary.textContent !== text) this.summary.textContent = text;
  }

  /** Keys of this tab; see ui/keys.js. */
  move(by) {
    if (!this.found.length) return;
    this.#selected = Math.max(0, Math.min(this.found.length - 1, this.#selected + by));
    [...this.list.querySelectorAll(".card")].forEach((item, i) => {
      item.classList.toggle("selected", i === this.#selected);
      item.querySelector(".open").setAttribute("aria-current", String(i === this.#selected));
    });
    this.list.children[this.#selected].scrollIntoView({ block: "nearest" });
    this.list.children[this.#selected].querySelector(".open").focus({ preventScroll: true });
  }

  async open(i = this.#selected) {
    const one = this.found[i];
    if (!one) return;
    this.move(i - this.#selected);
    await this.openDocument(
      one.id,
      one.row,
      one.others.map(({ row }) => row),
    );
  }

  async openDocument(id, row = null, others = []) {
    try {
      const document = this.app.library.get(id);
      const text = await this.app.library.text(id);
      const article = reader({ document, text, row, others, onClose: () => this.close() });
      this.#opened = id;
      fill(this.side, this.side.querySelector(".changed"), article);
      this.element.classList.add("reading");
      this.element.classList.remove("bare");
      reveal(article);
      article.querySelector(".body").focus({ preventScroll: true });
    } catch (error) {
      this.app.toasts.error(error);
    }
  }

  /** @returns {boolean} whether there was something to close */
  close() {
    if (!this.#opened) return false;
    this.#opened = null;
    this.element.classList.remove("reading");
    fill(this.side, this.side.querySelector(".changed"));
    this.#show(this.app.searcher.outcome.value);
    this.list.children[this.#selected]?.querySelector(".open")?.focus();
    return true;
  }

  async mark(relevant) {
    const one = this.found[this.#selected];
    const { query } = this.#drawn; // while more is typed, it is what stands there that is marked
    if (!one) return;
    this.list.children[this.#selected].classList.add("learning");
    try {
      const learned = await this.app.teacher.mark({ query, id: one.id, row: one.row, relevant });
      this.#moved = new Map((learned?.story.moves ?? []).map((move) => [move.id, move]));
      this.#selected = Math.max(
        0,
        this.found.findIndex(({ id }) => id === one.id),
      );
      if (learned) this.#showChange(learned);
      else fill(this.side, this.side.querySelector(".reader"));
      await this.#show(this.app.searcher.outcome.value);
    } catch (error) {
      this.list.querySelector(".learning")?.classList.remove("learning");
      if (!stopped(error)) this.app.toasts.error(error);
    }
  }

  /** Forgets badges and figure, after an undo. */
  forget() {
    this.#moved = new Map();
    fill(this.side, this.side.querySelector(".reader"));
    this.#show(this.app.searcher.outcome.value);
  }

  #showChange(learned) {
    const close = () => {
      panel.remove();
      if (!this.#opened) this.#showHint();
    };
    const { panel, picture, undo } = changePanel(learned, { undo: () => this.app.undoMark(learned.mark.n), close });
    fill(this.side, panel, this.side.querySelector(".reader"));
    const inDialog = () => dialog("What your mark changed", picture, h("div.actions", {}, undo)); // narrow: no room beside the list
    const action = panel.offsetParent
      ? { label: "Undo", run: () => this.app.undoMark(learned.mark.n) }
      : { label: "What changed", run: inDialog };
    this.app.toasts.say(learned.mark.relevant ? "Learned: relevant." : "Learned: not relevant.", action);
  }
}
