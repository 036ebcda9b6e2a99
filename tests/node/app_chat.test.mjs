/** Conversations: what is kept when, what stops, what can be taken back; and answers as blocks. The model is played. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Chat } from "../../web/app/chat/chat.js";
import { Conversations, titleOf } from "../../web/app/chat/conversations.js";
import { blocks, inline, toMarkdown } from "../../web/app/chat/markdown.js";
import { AbortError, ContextFull } from "../../web/sdk/errors.js";
import { streamOf } from "../../web/sdk/stream.js";
import { MemoryDatabase } from "./memory_db.mjs";

const turn = () => new Promise((resolve) => setImmediate(resolve));
const settled = async () => { for (let i = 0; i < 6; i++) await turn(); };

/** A chat whose answers are dealt by the test: `asked` holds {messages, options, say, end, fail}. */
async function played({ db = new MemoryDatabase(), chats = true } = {}) {
  const asked = [];
  let n = 0, clock = 1000;
  const told = { usage: { prompt: 9, completion: 2, cached: 4 }, timings: { firstMs: 1, decodeMs: 1 }, reason: "stop", seed: 77 };
  const session = {
    info: { chat: chats },
    stream: ({ messages }, options, { signal }) =>
      streamOf(
        (say, own) =>
          new Promise((resolve, fail) => {
            own.addEventListener("abort", () => fail(new AbortError("stopped")));
            asked.push({ messages, options, say, end: () => resolve(told), fail });
          }),
        signal,
      ),
  };
  const language = { session, ready: async () => session, chosen: { value: { name: "Tiny" } } };
  const conversations = await new Conversations(db, { now: () => ++clock, newId: () => `c${++n}` }).open();
  return { chat: new Chat(language, conversations), conversations, asked, db, language };
}
const said = (chat) => chat.messages.map(({ role, content }) => `${role[0]}: ${content}`);

/** Asks and is answered. */
async function exchange({ chat, asked }, question, answer) {
  const work = chat.send(question);
  await settled();
  asked.at(-1).say(answer);
  asked.at(-1).end();
  await work;
}

test("a question is kept before it is answered, and the answer with how it was made", async () => {
  const played_ = await played();
  const { chat, asked, db } = played_;
  const work = chat.send("  Why?  ");
  await settled();
  assert.equal((await db.read("conversations", "c1")).messages.length, 1);
  assert.deepEqual(asked[0].messages, [{ role: "user", content: "Why?" }]);
  asked[0].say("Be");
  await settled();
  assert.equal(chat.now.value.answering.text, "Be");
  asked[0].say("cause.");
  asked[0].end();
  await work;
  const { messages, title } = await db.read("conversations", "c1");
  assert.deepEqual([title, messages[1].content, messages[1].model, messages[1].told.at(-1)], ["Why?", "Because.", "Tiny", "seed 77"]);
  assert.equal(chat.now.value.answering, null);
});

test("settings reach the model: the system prompt first, a seed only where one is set", async () => {
  const it = await played();
  it.chat.settings.patch({ system: "Be brief.", temperature: 0, seed: null });
  await exchange(it, "one", "1");
  assert.deepEqual([it.asked[0].messages[0], "seed" in it.asked[0].options, it.asked[0].options.temperature], [{ role: "system", content: "Be brief." }, false, 0]);
  it.chat.settings.patch({ system: null, seed: 5 });
  await exchange(it, "two", "2");
  assert.deepEqual(it.asked[1].messages.map(({ role }) => role), ["user", "assistant", "user"]);
  assert.deepEqual([it.asked[1].options.seed, "system" in it.asked[1].options], [5, false]);
});

test("an answer that is stopped keeps what there is of it, and one that never began leaves the question", async () => {
  const it = await played();
  it.chat.send("one");
  await settled();
  it.asked[0].say("half");
  await settled();
  await it.chat.stop();
  assert.deepEqual([said(it.chat), it.chat.messages[1].stopped, it.chat.now.value.error], [["u: one", "a: half"], true, null]);
  it.chat.send("two");
  await settled();
  await it.chat.stop();
  assert.deepEqual(said(it.chat), ["u: one", "a: half", "u: two"]);
});

test("a stop is heard while the model is still loading", async () => {
  const { chat, language } = await played();
  language.ready = () => new Promise(() => {});
  chat.send("one");
  await settled();
  await chat.stop();
  assert.deepEqual([said(chat), chat.now.value.answering], [["u: one"], null]);
});

test("answering again replaces the last answer, and can be taken back", async () => {
  const it = await played();
  await exchange(it, "one", "first");
  const undo = await it.chat.regenerate();
  await settled();
  it.asked[1].say("second");
  it.asked[1].end();
  await it.chat.done;
  assert.deepEqual(said(it.chat), ["u: one", "a: second"]);
  await undo();
  assert.deepEqual(said(it.chat), ["u: one", "a: first"]);
});

test("an earlier question in other words cuts what follows, and that can be taken back while it is answered", async () => {
  const it = await played();
  await exchange(it, "one", "1");
  await exchange(it, "two", "2");
  const undo = await it.chat.edit(0, " uno ");
  await settled();
  assert.deepEqual(said(it.chat), ["u: uno"]);
  it.asked[2].say("part");
  await undo();
  assert.deepEqual([said(it.chat), it.chat.now.value.answering], [["u: one", "a: 1", "u: two", "a: 2"], null]);
});

test("a failure is told and the question stays; a model that cannot chat is named", async () => {
  const it = await played();
  it.chat.send("one");
  await settled();
  it.asked[0].fail(new RangeError("no"));
  await it.chat.done;
  assert.deepEqual([it.chat.now.value.error.message, said(it.chat)], ["no", ["u: one"]]);
  const mute = await played({ chats: false });
  await mute.chat.send("one");
  assert.equal(mute.chat.now.value.error.code, "no_chat_template");
});

test("a conversation that is too long is told in words, with the numbers", async () => {
  const it = await played();
  it.chat.send("one");
  await settled();
  it.asked[0].fail(new ContextFull('ask for contextPolicy "shift"', { tokens: 519, context: 128 }));
  await it.chat.done;
  const { code, message } = it.chat.now.value.error;
  assert.equal(code, "context_full");
  assert.match(message, /519 tokens.* 128\./);
  assert.doesNotMatch(message, /contextPolicy/);
});

test("showing another conversation stops the answer, which is kept in its own", async () => {
  const it = await played();
  it.chat.send("one");
  await settled();
  it.asked[0].say("half");
  await settled();
  await it.chat.show(null);
  assert.deepEqual([said(it.chat), it.conversations.get("c1").messages[1].content], [[], "half"]);
});

test("while a question is saved its answer is under way: another waits, a stop counts, and another conversation has none of it", async () => {
  const it = await played();
  await exchange(it, "one", "1");
  await it.chat.show(null);
  const both = [it.chat.send("two"), it.chat.send("three")];
  assert.ok(it.chat.now.value.answering);
  const shown = it.chat.show("c1");
  await Promise.all([...both, shown]);
  await settled();
  assert.deepEqual([said(it.chat), it.conversations.get("c2").messages.map(({ content }) => content), it.asked.length], [["u: one", "a: 1"], ["two"], 1]);
});

test("a question that is changed as another conversation is opened changes nothing in that one", async () => {
  const it = await played();
  await exchange(it, "one", "1");
  await it.chat.show(null);
  await exchange(it, "two", "2");
  const shown = it.chat.show("c1");
  assert.equal(await it.chat.edit(0, "zwei"), undefined);
  await shown;
  assert.deepEqual(["c1", "c2"].map((id) => it.conversations.get(id).messages[0].content), ["one", "two"]);
});

test("conversations come back after a reload, newest first, and a deleted one can come back", async () => {
  const it = await played();
  await exchange(it, "one", "1");
  await it.chat.show(null);
  await exchange(it, "two", "2");
  await it.conversations.rename("c1", "  Mine ");
  const undo = await it.conversations.delete("c2");
  assert.throws(() => it.conversations.get("c2"), { code: "document_not_found" });
  const again = (await played({ db: it.db })).conversations;
  assert.deepEqual(again.list.map(({ title }) => title), ["Mine"]);
  await undo();
  assert.deepEqual(it.conversations.list.map(({ id }) => id), ["c2", "c1"]);
  await assert.rejects(it.conversations.rename("c1", " "), { code: "invalid_option" });
});

test("what was deleted ends at the next start once nobody can take it back, and purging spares what came back", async () => {
  const it = await played();
  await exchange(it, "one", "1");
  const undo = await it.conversations.delete("c1");
  await undo();
  await it.conversations.purge(["c1"]);
  assert.equal(it.conversations.list.length, 1);
  await it.conversations.delete("c1");
  const later = await new Conversations(it.db, { now: () => 1e6 }).open();
  assert.deepEqual([later.all.size, await it.db.read("conversations", "c1")], [0, undefined]);
});

test("tabs tell each other what they saved", async () => {
  const db = new MemoryDatabase(), sent = [];
  const channel = { postMessage: (id) => sent.push(id), onmessage: null };
  const conversations = await new Conversations(db, { channel }).open();
  await db.write([{ put: "conversations", key: "x", value: { id: "x", title: "of another tab", messages: [], updatedAt: 1 } }]);
  await channel.onmessage({ data: "x" });
  assert.equal(conversations.get("x").title, "of another tab");
  await conversations.rename("x", "y");
  assert.deepEqual(sent, ["x"]);
});

const TITLES = [
  ["  two\n lines ", "two lines"],
  ["", "Conversation"],
  ["word ".repeat(30), `${"word ".repeat(11)}word\u2026`],
  ["x".repeat(80), `${"x".repeat(30)}\u2026`],
];
for (const [text, title] of TITLES) test(`a conversation is called ${JSON.stringify(title.slice(0, 20))}`, () => assert.equal(titleOf(text), title));

// --- answers as blocks
const shape = (text) => blocks(text).map(({ kind, lines }) => [kind, ...lines]);
const BLOCKS = [
  ["paragraphs are parted by an empty line", "a\nb\n\nc", [["p", "a", "b"], ["p", "c"]]],
  ["a heading is a block by itself", "# T\ntext", [["h", "T"], ["p", "text"]]],
  ["lists of both kinds, an item going on in the next line", "- a\n  more\n- b\n\n1. x\n2) y", [["ul", "a more", "b"], ["ol", "x", "y"]]],
  ["a quote", "> q\n> r", [["quote", "q", "r"]]],
  ["a fence keeps its lines as they are", "```py\n# no heading\n\n- no list\n```\nafter", [["code", "# no heading", "", "- no list"], ["p", "after"]]],
  ["a fence that is still open", "text\n```\nx = 1", [["p", "text"], ["code", "x = 1"]]],
  ["a longer fence holds a shorter one", "````\n```\n````", [["code", "```"]]],
  ["marks without a space are text", "#no -no 1.no", [["p", "#no -no 1.no"]]],
];
for (const [why, text, wanted] of BLOCKS) test(`blocks: ${why}`, () => assert.deepEqual(shape(text), wanted));

test("while a text grows, the source of all blocks but the last stays the same", () => {
  const text = "# T\n\nOne **two**.\n\n- a\n- b\n\n```py\nx = 1\n```\n\nEnd.";
  let before = [];
  for (let n = 1; n <= text.length; n++) {
    const now = blocks(text.slice(0, n)).map(({ source }) => source);
    const done = before.slice(0, -1);
    assert.deepEqual(now.slice(0, done.length), done, `at ${n}`);
    before = now;
  }
});

const INLINES = [
  ["a `b` c", ["text a ", "code b", "text  c"]],
  ["**bold** and *soft*", ["strong bold", "text  and ", "em soft"]],
  ["2 * 3 * 4 and snake_case_name", ["text 2 * 3 * 4 and snake_case_name"]],
  ["``a ` b``", ["code a ` b"]],
  ["<b>&amp;</b> [x](javascript:1)", ["text <b>&amp;</b> [x](javascript:1)"]],
];
for (const [text, wanted] of INLINES) test(`inside a line: ${text}`, () => assert.deepEqual(inline(text).map(({ kind, text }) => `${kind} ${text}`), wanted));

test("a conversation as a Markdown file", () => {
  const messages = [{ role: "user", content: "Why? " }, { role: "assistant", content: "So.", model: "Tiny", stopped: true }];
  assert.equal(toMarkdown({ title: "T", messages }), "# T\n\n**You**\n\nWhy?\n\n**Tiny (stopped)**\n\nSo.\n");
});
