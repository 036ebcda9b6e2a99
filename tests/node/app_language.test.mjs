/** The app's one language model, and completing as one types. The loader and the session are played; what is tested is who asks what, and when. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Completer, fitting } from "../../web/app/complete/completer.js";
import { LanguageModels } from "../../web/app/language/models.js";
import { factsOf, million, speed, toldOf } from "../../web/app/language/report.js";
import { FIELDS, withKept } from "../../web/app/language/settings.js";
import { STANDARD as CHAT } from "../../web/app/chat/chat.js";
import { STANDARD as COMPLETE } from "../../web/app/complete/completer.js";
import { AbortError } from "../../web/sdk/errors.js";
import { streamOf } from "../../web/sdk/stream.js";
import { MemoryDatabase } from "./memory_db.mjs";

const ROWS = [{ id: "code", name: "Code", size: 8e6, manifest: "code/1/manifest.json" }, { id: "talk", name: "Talk", size: 9e6, manifest: "talk/1/manifest.json" }];
const MANIFEST = { family: "qwen2", artifacts: { generation: { filename: "generation.json" } }, architecture: { contextLength: 1024 } };
const GIVEN = { name: "Mine", architecture: "qwen2", parameters: 5e8, quantization: "Q4_0", context: 4096, chatTemplate: true, size: 4e8, memory: { context: 2048, total: 5e8, limit: 4e9 } };
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A loader whose loads are ended by the test: `loads` holds {source, signal, onProgress, finish, fail}. */
function played({ cached = [], told = GIVEN, db = new MemoryDatabase() } = {}) {
  const loads = [], disposed = [];
  const loader = {
    urls: { models: "https://site.example/models/" },
    listModels: async () => ROWS,
    getManifest: async () => MANIFEST,
    isCached: async (id) => cached.includes(id),
    load: (source, { signal, onProgress }) =>
      new Promise((resolve, fail) => {
        signal.addEventListener("abort", () => fail(signal.reason));
        const finish = (more = {}) => resolve({ operations: ["generate"], info: { chat: true }, manifest: { name: "n" }, dispose: async () => void disposed.push(source), ...more });
        loads.push({ source, signal, onProgress, finish, fail });
      }),
  };
  const fetch = async (url) => ({ json: async () => ({ chatTemplate: url.pathname.includes("talk") ? "{{ messages }}" : null }) });
  const language = new LanguageModels({ loader, db, inspect: async () => told, fetch });
  return { language, loads, disposed, db };
}
const file = (name, size = 7) => ({ name, size });

test("opening lists the site's models, says which chat, and loads nothing that is not kept here", async () => {
  const { language, loads } = played();
  await Promise.all([language.open(), language.open()]);
  assert.deepEqual(language.choices.value.map(({ key, facts }) => [key, facts.chat]), [["code", false], ["talk", true]]);
  assert.deepEqual([language.chosen.value.key, loads.length, language.chats], ["code", 0, false]);
});

test("a list that did not come is asked for again", async () => {
  const { language } = played();
  const { listModels } = language.loader;
  language.loader.listModels = async () => { throw new RangeError("offline"); };
  await language.open();
  assert.deepEqual([language.choices.value, language.chosen.value], [[], null]);
  language.loader.listModels = listModels;
  await language.open();
  assert.equal(language.chosen.value.key, "code");
});

test("a model that is kept here is loaded at once, and callers share the load", async () => {
  const { language, loads } = played({ cached: ["code"] });
  await language.open();
  const both = [language.ready(), language.ready()];
  loads[0].finish();
  const [one, two] = await Promise.all(both);
  assert.equal(one, two);
  assert.deepEqual([loads.length, language.phase.value.name, language.session], [1, "ready", one]);
});

test("who asks before the site's models are listed has the one that is chosen then", async () => {
  for (const opening of [true, false]) {
    const { language, loads } = played();
    if (opening) language.open();
    const session = language.ready();
    while (!loads.length && language.phase.value.name !== "failed") await turn();
    loads[0].finish();
    assert.deepEqual([(await session).operations, loads[0].source], [["generate"], "code"]);
  }
});

const STEPS = [
  ["bytes of a download", { phase: "download", loaded: 3, total: 8 }, { loaded: 3, total: 8, unit: "bytes" }],
  ["parts of Python", { phase: "python", loaded: 1, total: 3 }, { loaded: 1, total: 3, unit: "parts" }],
  ["the last chunk, counted whole", { phase: "verify", loaded: 9, total: 8 }, { loaded: 8, total: 8, unit: "bytes" }],
  ["compiling has no measure, whatever was counted before", { phase: "compile", loaded: 8, total: 8 }, null],
];
for (const [why, event, part] of STEPS)
  test(`progress is of its own step: ${why}`, async () => {
    const { language, loads } = played();
    await language.open();
    const work = language.ready();
    loads[0].onProgress(event);
    assert.deepEqual(language.phase.value, { name: "loading", step: event.phase, part });
    loads[0].finish();
    await work;
  });

test("a load that is stopped can go on, and a failure keeps its error", async () => {
  const { language, loads } = played();
  await language.open();
  const first = language.ready();
  language.cancel();
  await assert.rejects(first);
  assert.equal(language.phase.value.name, "cancelled");
  const second = language.ready();
  loads[1].fail(new RangeError("no"));
  await assert.rejects(second, RangeError);
  assert.deepEqual([language.phase.value.name, language.phase.value.error.message], ["failed", "no"]);
});

test("choosing another model frees the one before, also one that is still loading", async () => {
  const { language, loads, disposed } = played();
  await language.open();
  const work = language.ready();
  loads[0].finish();
  await work;
  await language.choose("talk");
  assert.deepEqual([disposed, language.session, language.phase.value.name], [["code"], null, "idle"]);
  const late = language.ready();
  await language.choose("code");
  await assert.rejects(late);
  assert.deepEqual([language.chosen.value.key, language.phase.value.name], ["code", "idle"]);
});

test("of two models that are chosen quickly the later stays, here and after a reload", async () => {
  const { language, loads, db } = played();
  await language.open();
  const work = language.ready();
  loads[0].finish();
  await work;
  await Promise.all([language.choose("talk"), language.choose("code")]);
  assert.equal(language.chosen.value.key, "code");
  assert.equal((await db.read("settings", "language")).key, "code");
});

test("a given file is described, chosen and unsigned; after a reload it is asked for again", async () => {
  const { language, db } = played();
  await language.open();
  const choice = await language.give([file("b-00002-of-00002.gguf"), file("b-00001-of-00002.gguf")]);
  assert.deepEqual([choice.trust, choice.facts.chat, choice.source.files.map(({ name }) => name)], ["unsigned", true, ["b-00001-of-00002.gguf", "b-00002-of-00002.gguf"]]);
  assert.match(factsOf(choice).join(" "), /qwen2 500 million weights Q4_0 400 MB needs about 500 MB of memory .*unsigned/);
  const again = played({ db }).language;
  await again.open();
  assert.deepEqual([again.missing, again.chosen.value.key], ["Mine", "code"]);
});

test("a file that no tab can hold is refused with the numbers, and what was chosen stays", async () => {
  const { language } = played({ told: { ...GIVEN, memory: { context: 2048, total: 7e9, limit: 4.29e9 } } });
  await language.open();
  await assert.rejects(language.give([file("big.gguf")]), (error) => error.code === "model_too_large" && /7\.0 GB.*4\.3 GB/.test(error.message));
  assert.deepEqual([language.chosen.value.key, language.choices.value.length], ["code", 2]);
});

test("an encoder's file is refused in words and given back", async () => {
  const { language, loads, disposed } = played();
  await language.open();
  const work = language.ready();
  loads[0].finish({ operations: ["embed"], type: "embedding" });
  await assert.rejects(work, { code: "not_supported" });
  assert.deepEqual(disposed, ["code"]);
});

// --- completing
/** A model whose answers are dealt piece by piece by the test: `asked` holds {prompt, options, signal, say, end}. */
function writing({ session = true, context = 64 } = {}) {
  const asked = [];
  const told = { usage: { prompt: 1, completion: 2, cached: 0 }, timings: { firstMs: 1, decodeMs: 1 }, reason: "stop", seed: 1 };
  const model = {
    info: { context },
    encode: async (text) => [...text],
    decode: async (tokens) => tokens.join(""),
    stream: ({ prompt }, options, { signal }) =>
      streamOf(
        (say, own) =>
          new Promise((resolve, reject) => {
            own.addEventListener("abort", () => reject(new AbortError("stopped")));
            asked.push({ prompt, options, signal: own, say, end: () => resolve(told) });
          }),
        signal,
      ),
  };
  const language = { session: session ? model : null, ready: async () => model };
  return { completer: new Completer(language, { pause: 0 }), asked };
}
const paused = () => new Promise((resolve) => setTimeout(resolve, 1)).then(turn).then(turn);
async function typed(completer, text) {
  completer.type(text);
  await paused();
}

test("a pause asks, pieces show as they come, and the answer is told", async () => {
  const { completer, asked } = writing();
  await typed(completer, "import");
  assert.deepEqual([asked[0].prompt, asked[0].options], ["import", { temperature: 0, maxTokens: 48, stopSequences: ["\n\n"] }]);
  asked[0].say(" os");
  await turn();
  assert.deepEqual([completer.suggestion.value.text, completer.suggestion.value.busy], [" os", true]);
  asked[0].say(", sys\n");
  asked[0].end();
  await paused();
  assert.equal(completer.suggestion.value.text, " os, sys", "white space at the end is not shown");
  assert.deepEqual([completer.suggestion.value.done, completer.suggestion.value.told.usage.completion], [true, 2]);
});

const LEADING = [
  ["a key that the suggestion begins with keeps it", "import o", "s", 1],
  ["another key gives it up and asks anew", "import x", "", 2],
  ["all of it typed, there is nothing left to show", "import os", "", 2],
  ["going back before the question asks anew", "impor", "", 2],
];
for (const [why, next, rest, asks] of LEADING)
  test(`typing on: ${why}`, async () => {
    const { completer, asked } = writing();
    await typed(completer, "import");
    asked[0].say(" os");
    asked[0].end();
    await paused();
    await typed(completer, next);
    assert.deepEqual([completer.suggestion.value.text, asked.length], [rest, asks]);
  });

test("a key aborts a question that it leads away from, and one that it leads along goes on", async () => {
  const { completer, asked } = writing();
  await typed(completer, "a");
  asked[0].say("bc");
  await turn();
  await typed(completer, "ab");
  assert.equal(asked[0].signal.aborted, false);
  await typed(completer, "ax");
  assert.deepEqual([asked[0].signal.aborted, asked.length], [true, 2]);
});

const SILENT = [
  ["nothing is written", { text: " \n" }],
  ["nothing can follow the caret", { text: null }],
  ["the model is not loaded", { session: false, text: "import" }],
  ["suggestions are off", { automatic: false, text: "import" }],
];
for (const [why, { text, session, automatic = true }] of SILENT)
  test(`nobody is asked where ${why}`, async () => {
    const { completer, asked } = writing({ session });
    completer.settings.patch({ automatic });
    await typed(completer, text);
    assert.equal(asked.length, 0);
  });

test("asking by hand loads the model, putting away stops it, and a failure is shown", async () => {
  const { completer, asked } = writing({ session: false });
  await typed(completer, "import");
  const work = completer.ask();
  await paused();
  assert.equal(asked.length, 1);
  assert.equal(completer.dismiss(), true);
  await work;
  assert.deepEqual([asked[0].signal.aborted, completer.suggestion.value.error, completer.dismiss()], [true, null, false]);
  completer.language.ready = async () => { throw new RangeError("no"); };
  await completer.ask();
  assert.equal(completer.suggestion.value.error.message, "no");
});

const WORDS = [["  return x", "  return"], ["(self, x)", "("], ["\n    pass", "\n    pass"], ["", ""]];
for (const [text, word] of WORDS)
  test(`the first word of ${JSON.stringify(text)}`, () => {
    const { completer } = writing();
    completer.suggestion.patch({ text });
    assert.deepEqual([completer.take(true), completer.take()], [word, text]);
  });

const SPACED = [
  ["is left to the model and not suggested twice", [" x", " y"], "x y"],
  ["ends the suggestion where the model does not go on from it", ["\nclass"], ""],
];
for (const [why, pieces, text] of SPACED)
  test(`a space before the caret ${why}`, async () => {
    const { completer, asked } = writing();
    await typed(completer, "return ");
    assert.equal(asked[0].prompt, "return");
    pieces.forEach((piece) => asked[0].say(piece));
    asked[0].end();
    await paused();
    assert.deepEqual([completer.suggestion.value.text, completer.suggestion.value.busy], [text, false]);
  });

test("an answer set longer than the context leaves half of it to the prompt", async () => {
  const { completer, asked } = writing({ context: 64 });
  completer.settings.patch({ maxTokens: 5000 });
  await typed(completer, "x".repeat(100));
  assert.ok(asked[0].prompt.length > 16 && asked[0].prompt.length <= 32, String(asked[0].prompt.length));
});

const REPEATS = [
  ["the line that the caret stands in", "    x", " = 1\n    x = 1\n    x = 1\n", " = 1"],
  ["a line of its own", "def f():", "\n    a()\n    b()\n    b()\n    b()", "\n    a()\n    b()"],
  ["two lines together", "x\n", "if a:\n    b()\nif a:\n    b()\nif a:\n", "if a:\n    b()"],
  ["no line at all", "def f():", "\n    a()\n    b()\n    a()\n", "\n    a()\n    b()\n    a()"],
];
for (const [why, before, answer, text] of REPEATS)
  test(`a suggestion ends before it says again ${why}`, async () => {
    const { completer, asked } = writing();
    await typed(completer, before);
    asked[0].say(answer);
    asked[0].end();
    await paused();
    assert.deepEqual([completer.suggestion.value.text, completer.suggestion.value.busy], [text, false]);
  });

test("of a long text the end is asked, and it begins at the same place for many keys", async () => {
  const { completer: { language } } = writing();
  const session = await language.ready();
  const starts = new Set();
  for (let n = 100; n < 116; n++) {
    const text = Array.from({ length: n }, (_, i) => String.fromCharCode(200 + i)).join("");
    const prompt = await fitting(session, text, 32);
    assert.ok(prompt.length <= 32 && text.endsWith(prompt) && prompt.length > 16, `${prompt.length} of ${n}`);
    starts.add(prompt[0]);
  }
  assert.ok(starts.size <= 2, `${starts.size} places`);
  assert.equal(await fitting(session, "short", 32), "short");
});

// --- words about it
const TOLD = { usage: { prompt: 1200, completion: 11, cached: 1100 }, timings: { firstMs: 21.4, decodeMs: 500 }, reason: "context", seed: 1 };
test("an answer tells its speed, first token, tokens and what was cached", () => {
  assert.deepEqual(toldOf(TOLD), ["20 tokens/s", "first token after 21 ms", "11 tokens", "prompt 1,200, 1,100 of it cached", "ended: the context is full"]);
  assert.equal(speed({ ...TOLD, usage: { ...TOLD.usage, completion: 1 } }), null, "one token has no speed");
  assert.deepEqual([million(7.34e6), million(494e6), million(1.5e9)], ["7.3 million", "494 million", "1.5 billion"]);
});

test("kept settings stand over those of a first visit, and every setting has its field", () => {
  assert.deepEqual(withKept(COMPLETE, { maxTokens: 9, gone: 1 }), { temperature: 0, maxTokens: 9, automatic: true });
  assert.deepEqual(withKept(COMPLETE, undefined), COMPLETE);
  for (const name of Object.keys({ ...CHAT, ...COMPLETE })) assert.ok(FIELDS[name], name);
});
