/** The Chat tab: conversations at the side, the one that is open, the box to write in. Runs in the page. */
import { fill, h, icon } from "../dom.js";
import { day } from "../format.js";
import { modelBar } from "../language/bar.js";
import { settingsForm, withKept } from "../language/settings.js";
import { download } from "../library/adding.js";
import { dialog } from "../ui/dialog.js";
import { plain } from "../ui/plain.js";
import { STANDARD } from "./chat.js";
import { toMarkdown } from "./markdown.js";
import { answering, messageItem } from "./message.js";
import { beginHere, howToGetOne } from "./start.js";

const SETTINGS = "chat.settings", SHOWN = "chat.shown"; // settings rows
const NEAR = 90; // px from the end within which new words are followed

export class ChatView {
  #live = null;
  #drawn = null;
  #messages = null;
  #frame = null;

  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.bar = modelBar(app);
    this.rows = h("ul.talks", { "aria-label": "Conversations" });
    this.title = h("h2");
    this.list = h("ol.messages", { "aria-label": "Messages" });
    this.end = h("div.end");
    this.said = h("p.unseen", { role: "status" });
    this.box = h("textarea", { id: "question", rows: 1, placeholder: "Ask something", "aria-label": "Your question", onkeydown: (event) => this.#key(event), oninput: () => this.#grow() });
    this.send = h("button.primary.send", { type: "submit" });
    this.element = h(
      "section.view.chat",
      { id: "chat", "aria-label": "Chat" },
      this.bar,
      h("div.rooms", {}, this.#side(), h("div.talk", {}, this.#head(), h("div.scroll", {}, this.list, this.end), this.said, this.#composer())),
    );
    app.chat.now.watch((now) => this.#show(now));
    app.conversations.addEventListener("change", ({ detail }) => this.#changed(detail.id));
    app.language.phase.watch(() => this.#outline());
    app.language.chosen.watch(() => this.#outline());
  }

  /** What was kept; called once, before the page is shown. */
  async restore() {
    const { chats, chat, conversations } = this.app;
    const [kept, shown] = await Promise.all([chats.read("settings", SETTINGS), chats.read("settings", SHOWN)]);
    chat.settings.set(withKept(STANDARD, kept));
    if (conversations.list.some(({ id }) => id === shown)) await chat.show(shown);
    this.#drawRows();
  }

  opened() {
    this.app.attempt(() => this.app.language.open());
    if (matchMedia("(hover: hover)").matches) requestAnimationFrame(() => this.box.focus());
    requestAnimationFrame(() => this.#toEnd());
  }

  // --- what is around the messages
  #side() {
    const fresh = h("button", { type: "button", onclick: () => this.#open(null) }, icon("plus"), "New conversation");
    return h("aside.side", { "aria-label": "Conversations" }, fresh, this.rows);
  }

  #head() {
    const tool = (name, label, run) => h("button.quiet", { type: "button", "aria-label": label, title: label, onclick: run }, icon(name));
    return h(
      "header.talkhead",
      {},
      h("button.quiet.showlist", { type: "button", "aria-label": "Conversations", title: "Conversations", onclick: () => this.#sideways() }, icon("list")),
      this.title,
      h(
        "div.tools",
        {},
        h("button.quiet.fresh", { type: "button", "aria-label": "New conversation", title: "New conversation", onclick: () => this.#open(null) }, icon("plus")),
        tool("save", "Save as Markdown", () => this.#export()),
        tool("gear", "Settings", () => this.#settings()),
      ),
    );
  }

  #composer() {
    return h(
      "form.composer",
      {
        onsubmit: (event) => {
          event.preventDefault();
          if (this.app.chat.now.value.answering) this.app.chat.stop();
          else this.ask(this.box.value);
        },
      },
      this.box,
      this.send,
    );
  }

  /** On a narrow window the list lies over the conversation. */
  #sideways(on) {
    this.element.classList.toggle("listing", on);
  }

  #drawRows() {
    const { conversations, chat } = this.app;
    const { list } = conversations;
    const { id: shown } = chat.now.value;
    fill(
      this.rows,
      list.length ? list.map((one) => this.#row(one, one.id === shown)) : h("li.nothing", {}, "Conversations are kept here, in this browser."),
    );
  }

  #row({ id, title, updatedAt }, shown) {
    const tool = (name, label, run) => h("button.quiet", { type: "button", "aria-label": `${label} ${title}`, title: label, onclick: run }, icon(name));
    const item = h(
      "li.talkrow",
      { data: { id } },
      h("button.open", { type: "button", "aria-current": shown && "true", onclick: () => this.#open(id) }, h("span.name", {}, title), h("span.facts", {}, day(updatedAt))),
      h(
        "div.tools",
        {},
        tool("pen", "Rename", () => this.#rename(item, id, title)),
        tool("trash", "Delete", () => this.#delete(id)),
      ),
    );
    return item;
  }

  #rename(item, id, title) {
    let settled = false;
    const settle = (name) => {
      if (settled) return;
      settled = true;
      this.app.attempt(() => this.app.conversations.rename(id, name)).then(() => this.#drawRows());
    };
    const input = h("input", {
      type: "text",
      value: title,
      "aria-label": "New name",
      onblur: () => settle(input.value),
      onkeydown: (event) => {
        event.stopPropagation();
        if (event.key === "Enter") settle(input.value);
        if (event.key === "Escape") settle(title);
      },
    });
    fill(item, input);
    input.select();
    input.focus();
  }

  async #delete(id) {
    const { app } = this;
    if (app.chat.now.value.id === id) await app.chat.show(null);
    const undo = await app.attempt(() => app.conversations.delete(id));
    if (undo)
      app.toasts.say(
        "Conversation deleted.",
        { label: "Undo", run: () => app.attempt(() => undo().then(() => this.#open(id))) },
        () => app.attempt(() => app.conversations.purge([id])),
      );
  }

  async #open(id) {
    this.#sideways(false);
    await this.app.chat.show(id);
    this.#toEnd();
    this.box.focus();
  }

  #export() {
    const { id } = this.app.chat.now.value;
    if (!id) return this.app.toasts.say("There is nothing to save yet.");
    const conversation = this.app.conversations.get(id);
    const name = conversation.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
    download(new Blob([toMarkdown(conversation)], { type: "text/markdown" }), `${name || "conversation"}.md`);
  }

  #settings() {
    const { chat, chats } = this.app;
    const box = dialog("Settings of Chat", settingsForm(chat.settings));
    box.addEventListener("close", () => this.app.attempt(() => chats.write([{ put: "settings", key: SETTINGS, value: chat.settings.value }])));
  }

  // --- asking
  async ask(text) {
    if (!text.trim()) return;
    this.box.value = "";
    this.#grow();
    this.app.persist();
    await this.app.attempt(() => this.app.chat.send(text));
  }

  /** Enter asks, Escape stops the answer. */
  #key(event) {
    const running = this.app.chat.now.value.answering;
    if (event.key === "Escape" && running) return this.app.chat.stop();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!running) this.ask(this.box.value);
  }

  #grow() {
    this.box.style.height = "auto";
    this.box.style.height = `${Math.min(this.box.scrollHeight + 2, 220)}px`;
  }

  async #again() {
    this.#offer(await this.app.attempt(() => this.app.chat.regenerate()), "Answering again.");
  }

  async #edit(index, text) {
    const cut = this.app.chat.messages.length - index - 1;
    this.#offer(await this.app.attempt(() => this.app.chat.edit(index, text)), cut ? "What followed was cut." : "Asked in other words.");
  }

  #offer(undo, words) {
    if (undo) this.app.toasts.say(words, { label: "Undo", run: () => this.app.attempt(undo) });
  }

  // --- what is shown
  #show({ id, answering: now, error }) {
    const running = Boolean(now);
    if (id !== this.#drawn?.id || running !== this.#drawn.running || error !== this.#drawn.error) {
      const other = this.#drawn && id !== this.#drawn.id; // the first is that of a page which has read nothing yet
      if (this.#drawn?.running !== running) this.said.textContent = running ? "Answering." : this.#drawn?.running ? "The answer is there." : "";
      this.#drawn = { id, running, error };
      this.#draw(now, error);
      this.#drawRows();
      if (other) this.app.attempt(() => this.app.chats.write([{ put: "settings", key: SHOWN, value: id }]));
    }
    if (now) this.#frame ??= requestAnimationFrame(() => this.#stream());
  }

  #changed(id) {
    this.#drawRows();
    const { id: shown, answering: now, error } = this.app.chat.now.value;
    if (id !== shown) return;
    if (this.#messages === this.app.chat.messages) this.#outline(); // only its name
    else this.#draw(now, error);
  }

  #draw(now, error) {
    const { chat } = this.app;
    const { messages } = chat;
    this.#messages = messages;
    this.#live = now && answering();
    const items = messages.map((message, i) => messageItem(message, { last: i === messages.length - 1 && !now, edit: (text) => this.#edit(i, text), again: () => this.#again() }));
    const unanswered = !now && messages.at(-1)?.role === "user";
    const again = h("button.primary", { type: "button", onclick: () => chat.answer() }, error ? "Try again" : "Answer");
    fill(this.list, items, this.#live?.element, unanswered && h("li.trouble", {}, error ? plain(error, again) : again));
    this.#outline();
    if (now) this.#stream();
    this.#toEnd();
  }

  #stream() {
    this.#frame = null;
    const { answering: now } = this.app.chat.now.value;
    if (!now || !this.#live) return;
    const near = this.#near();
    this.#live.say(now.text, now.loading);
    if (near) this.#toEnd();
  }

  /** What depends on the model and on whether there is a conversation. */
  #outline() {
    const { chat, language, conversations } = this.app;
    const { id, answering: now } = chat.now.value;
    this.title.textContent = conversations.all.get(id)?.title ?? "New conversation";
    fill(this.send, icon(now ? "stop" : "up"));
    this.send.setAttribute("aria-label", now ? "Stop" : "Send");
    this.send.title = now ? "Stop" : "Send (Enter)";
    const mute = !language.chosen.value || language.chats === false;
    this.box.disabled = mute;
    this.box.placeholder = !mute ? "Ask something" : language.missing ? `Choose the file of ${language.missing} again` : "Choose a model that can chat";
    this.send.disabled = mute && !now;
    this.element.classList.toggle("empty", !chat.messages.length);
    this.element.classList.toggle("mute", mute);
    if (!chat.messages.length && language.known)
      fill(this.list, h("li.nothing", {}, mute ? howToGetOne(this.app, () => this.bar.querySelector("input[type=file]").click()) : beginHere(this.app, (text) => this.ask(text))));
  }

  #near() {
    const scroll = this.list.parentElement;
    const own = scroll.scrollHeight > scroll.clientHeight + 1; // else the page scrolls
    const { bottom } = this.end.getBoundingClientRect();
    return bottom < (own ? scroll.getBoundingClientRect().bottom : innerHeight) + NEAR;
  }

  #toEnd() {
    if (this.app.chat.messages.length) this.end.scrollIntoView({ block: "end" });
  }
}
