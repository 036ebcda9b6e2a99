/** ModelWorker, its pool, and the faces of other libraries over played workers: the exact shapes, and what is refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ModelWorker, ModelWorkerPool } from "../../web/sdk/model-worker.js";
import { openAI } from "../../web/sdk/openai.js";
import { CreateMLCEngine } from "../../web/sdk/webllm.js";
import { Wllama } from "../../web/sdk/wllama.js";
import { Stage } from "./played_lm.mjs";

const HERE = { frame: false, urls: { base: "https://site.example/" } };
const USER = [{ role: "user", content: "one two three" }];

async function all(iterator) {
  const found = [];
  for await (const item of iterator) found.push(item);
  return found;
}

test("worker: load, generate, stream to onToken, batch, terminate", async (t) => {
  const stage = new Stage(t);
  const worker = new ModelWorker(HERE);
  await assert.rejects(worker.generate("x"), { code: "no_model" });
  await worker.load("m");
  assert.equal(await worker.generate("one two", { maxTokens: 1 }), "one ");
  const heard = [];
  const quiet = worker.onToken((piece) => heard.push(piece));
  assert.equal(await worker.generateStream("one two"), "one two");
  quiet();
  await worker.generateStream("more");
  assert.deepEqual(heard, ["one ", "two"]);
  const results = await worker.batch([{ id: "1", prompt: "Hello" }, { id: "2", prompt: "big World", options: { maxTokens: 1 } }]);
  assert.deepEqual(results.map(({ id, text, reason }) => [id, text, reason]), [["1", "Hello", "stop"], ["2", "big ", "length"]]);
  assert.equal(stage.most, 2);
  worker.terminate();
  await new Promise(setImmediate);
  assert.equal(stage.alive.length, 0);
  await assert.rejects(worker.generate("x"), { code: "disposed" });
});

test("worker: one failure ends the rest of its batch", async (t) => {
  const stage = new Stage(t);
  const worker = new ModelWorker(HERE);
  t.after(() => worker.terminate());
  await worker.load("m");
  await assert.rejects(worker.batch([{ id: "1", prompt: "fail" }, { id: "2", prompt: "a b c d e f g h i j" }]), /this prompt fails/);
  while (stage.running) await new Promise(setImmediate);
  assert.equal(stage.workers[0].cancelled, 1);
  await assert.rejects(worker.batch([]), { code: "empty_batch" });
});

test("pool: one copy of the weights, as many generations together as it has workers, answers in order", async (t) => {
  const stage = new Stage(t);
  const pool = new ModelWorkerPool({ workers: 2, model: "m", ...HERE });
  const texts = await Promise.all(["a b c", "d e", "f", "g h i"].map((prompt) => pool.generate(prompt)));
  assert.deepEqual(texts, ["a b c", "d e", "f", "g h i"]);
  assert.deepEqual([stage.workers.length, stage.most], [1, 2]);
  const found = await pool.batch([{ id: "x", prompt: "a b" }, { id: "y", prompt: "c" }, { id: "z", prompt: "d e" }]);
  assert.deepEqual([found.map(({ id, text }) => [id, text]), stage.most], [[["x", "a b"], ["y", "c"], ["z", "d e"]], 2]);
  const waiting = Promise.allSettled(["never", "never", "waits"].map((prompt) => pool.generate(prompt)));
  while (stage.running < 2) await new Promise(setImmediate);
  pool.terminate();
  assert.deepEqual((await waiting).map(({ status }) => status), ["rejected", "rejected", "rejected"]);
});

test("worker: a model that cannot be loaded in place of one that still loads is told to who asked, and to nobody else", async (t) => {
  const stage = new Stage(t);
  const [unhandled, hear] = [[], (error) => unhandled.push(error)];
  process.on("unhandledRejection", hear);
  t.after(() => process.off("unhandledRejection", hear));
  stage.hanging = ["relaxed"];
  const worker = new ModelWorker({ ...HERE, testing: { patience: 80 } });
  const first = assert.rejects(worker.load("m"), { code: "engine_deadline" });
  stage.hanging = ["relaxed", "simd", undefined];
  await assert.rejects(worker.load("m", { threads: -1 }), { code: "invalid_option" });
  await first;
  assert.deepEqual(unhandled, []);
});

test("pool: who is cancelled waits for no place; places there must be", async (t) => {
  const stage = new Stage(t);
  const pool = new ModelWorkerPool({ workers: 1, model: "m", ...HERE });
  t.after(() => pool.terminate());
  const running = new AbortController();
  const first = assert.rejects(pool.generate("never", {}, { signal: running.signal }), { name: "AbortError" });
  while (!stage.running) await new Promise(setImmediate);
  const waiting = new AbortController();
  const cancelled = assert.rejects(pool.generate("waits", {}, { signal: waiting.signal }), { name: "AbortError" });
  const last = pool.generate("last");
  await new Promise(setImmediate);
  waiting.abort();
  await cancelled;
  running.abort();
  await first;
  assert.equal(await last, "last");
  for (const workers of [0, NaN, 1.5, "2"]) assert.throws(() => new ModelWorkerPool({ workers: /** @type {any} */ (workers), model: "m", ...HERE }), { code: "invalid_option" });
});

test("pool: a model that cannot be loaded is told by every call", async (t) => {
  new Stage(t).load = Object.defineProperty({}, "name", { enumerable: true, get() { throw new RangeError("no memory"); } });
  const pool = new ModelWorkerPool({ model: "m", ...HERE });
  await assert.rejects(pool.ready(), /no memory/);
  await assert.rejects(pool.generate("x"), /no memory/);
});

/** A client on a played model. */
async function client(t) {
  const stage = new Stage(t);
  const session = await stage.loader.load("m");
  return { stage, api: openAI(() => session), asked: () => stage.workers[0].asked };
}
const EXTRA = { time_to_first_token_s: 0.005, prefill_tokens_per_s: 500, decode_tokens_per_s: 30 };
const USAGE = { prompt_tokens: 3, completion_tokens: 3, total_tokens: 6, prompt_tokens_details: { cached_tokens: 1 }, extra: EXTRA };

test("openai: a chat completion has the API's shape", async (t) => {
  const { api } = await client(t);
  const { id, created, ...rest } = await api.chat.completions.create({ model: "any", messages: USER });
  assert.match(id, /^chatcmpl-/);
  assert.ok(Math.abs(created - Date.now() / 1000) < 60);
  const choice = { index: 0, message: { role: "assistant", content: "one two three" }, finish_reason: "stop", logprobs: null };
  assert.deepEqual(rest, { object: "chat.completion", model: "m", choices: [choice], usage: USAGE });
});

test("openai: a stream begins with the role, ends with the reason, and tells usage where it is asked to", async (t) => {
  const { api } = await client(t);
  const chunks = await all(await api.chat.completions.create({ messages: USER, max_tokens: 2, stream: true, stream_options: { include_usage: true } }));
  const [{ id, created }] = chunks;
  const part = (delta, finish_reason = null) => ({ id, created, model: "m", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason, logprobs: null }] });
  const usage = { ...USAGE, completion_tokens: 2, total_tokens: 5, extra: { ...EXTRA, decode_tokens_per_s: 20 } };
  assert.deepEqual(chunks, [part({ role: "assistant", content: "" }), part({ content: "one " }), part({ content: "two " }), part({}, "length"),
    { id, created, model: "m", object: "chat.completion.chunk", choices: [], usage }]);
});

test("openai: several choices draw with seeds of their own and count the prompt once", async (t) => {
  const { api, asked } = await client(t);
  const { choices, usage } = await api.chat.completions.create({ messages: USER, n: 2, seed: 5 });
  assert.deepEqual([choices.map(({ index }) => index), asked().map(({ options }) => options.seed), usage.prompt_tokens, usage.completion_tokens], [[0, 1], [5, 6], 3, 6]);
  const chunks = await all(await api.chat.completions.create({ messages: USER, n: 2, stream: true }));
  const text = (index) => chunks.flatMap(({ choices: [choice] }) => (choice.index === index ? [choice.delta.content ?? ""] : [])).join("");
  assert.deepEqual([text(0), text(1)], ["one two three", "one two three"]);
});

test("openai: text completions, one or several prompts, whole and streamed", async (t) => {
  const { api } = await client(t);
  const { object, choices } = await api.completions.create({ prompt: ["one two", "three"], max_tokens: 1 });
  assert.deepEqual([object, choices.map(({ index, text, finish_reason }) => [index, text, finish_reason])], ["text_completion", [[0, "one ", "length"], [1, "three", "length"]]]);
  const chunks = await all(await api.completions.create({ prompt: "one two", stream: true }));
  assert.deepEqual(chunks.map(({ object: kind, choices: [{ text, finish_reason }] }) => [kind, text, finish_reason]),
    [["text_completion", "one ", null], ["text_completion", "two", null], ["text_completion", "", "stop"]]);
});

test("openai: parameters become the engine's options, and nothing is cut off unless asked for", async (t) => {
  const { api, asked } = await client(t);
  await api.chat.completions.create({ messages: USER, max_tokens: 9, temperature: 0.5, top_p: 0.9, stop: "END", seed: 3, frequency_penalty: 0.1, presence_penalty: null, logit_bias: {}, tools: [], user: "u" });
  await api.chat.completions.create({ messages: USER });
  const [{ options }, { options: standard }] = asked();
  assert.deepEqual([options.maxTokens, options.temperature, options.topP, options.stopSequences, options.seed, options.frequencyPenalty], [9, 0.5, 0.9, ["END"], 3, 0.1]);
  assert.deepEqual([standard.temperature, standard.topP, standard.topK, standard.minP], [1, 1, 0, 0]);
});

test("openai: parts of a message that are text are joined; a developer speaks as the system", async (t) => {
  const { api, asked } = await client(t);
  await api.chat.completions.create({ messages: [{ role: "developer", content: "be kind" }, { role: "user", content: [{ type: "text", text: "a" }, { type: "text", text: " b" }] }] });
  assert.deepEqual(asked()[0].messages, [{ role: "system", content: "be kind" }, { role: "user", content: "a b" }]);
});

/** [request beyond the messages, what the message names] @type {[any, RegExp][]} */
const REFUSED = [
  [{ logit_bias: { 5: -100 } }, /logit_bias/], [{ tools: [{ type: "function" }] }, /tools/], [{ response_format: { type: "json_object" } }, /response_format/],
  [{ logprobs: true }, /logprobs/], [{ functions: [] }, /functions/], [{ n: 0 }, /n cannot be 0/], [{ max_tokens: 0 }, /maxTokens/],
  [{ messages: "hello" }, /messages/], [{ messages: [{ role: "user", content: [{ type: "image_url" }] }] }, /image_url/], [{ messages: [{ role: "assistant", content: "x", tool_calls: [1] }] }, /tool_calls/],
];
for (const [more, message] of REFUSED) {
  test(`openai: ${JSON.stringify(more)} is refused by name, not ignored`, async (t) => {
    const { api, asked } = await client(t);
    for (const stream of [false, true]) await assert.rejects(api.chat.completions.create({ messages: USER, stream, ...more }), { message });
    assert.deepEqual(asked(), []);
  });
}

test("webllm: progress, chat, stream with usage, getMessage, interruption", async (t) => {
  const stage = new Stage(t);
  const reports = [];
  const engine = await CreateMLCEngine("m", { initProgressCallback: (report) => reports.push(report), loader: stage.loader });
  assert.deepEqual([reports.at(-1).progress, reports.at(-1).text, typeof reports.at(-1).timeElapsed], [1, "Finish loading", "number"]);
  const reply = await engine.chat.completions.create({ messages: USER });
  assert.deepEqual([reply.choices[0].message.content, await engine.getMessage()], ["one two three", "one two three"]);
  let text = "", usage = null;
  for await (const chunk of await engine.chat.completions.create({ messages: USER, temperature: 1, stream: true, stream_options: { include_usage: true } })) {
    text += chunk.choices[0]?.delta.content || "";
    usage = chunk.usage ?? usage;
  }
  assert.deepEqual([text, usage.total_tokens, await engine.getMessage(), await engine.runtimeStatsText()], ["one two three", 6, text, "prefill: 500.0 tokens/sec, decoding: 30.0 tokens/sec"]);
  const reasons = [];
  for await (const { choices: [choice] } of await engine.chat.completions.create({ messages: USER, stream: true })) {
    reasons.push(choice.finish_reason);
    if (choice.delta.content) engine.interruptGenerate();
  }
  assert.equal(reasons.at(-1), "abort");
  await engine.unload();
  await assert.rejects(engine.chat.completions.create({ messages: USER }), { code: "no_model" });
  await assert.rejects(CreateMLCEngine("m", /** @type {any} */ ({ appConfig: {} })), { code: "invalid_option", message: /appConfig/ });
});

test("wllama: load from blobs, complete, chat, stream by iterator and by onData, exit", async (t) => {
  const stage = new Stage(t);
  const wllama = new Wllama({ default: "/esm/wasm/wllama.wasm" }, { loader: stage.loader });
  await wllama.loadModel([new Blob(["GGUF"])], { n_ctx: 256, n_threads: 1, n_gpu_layers: 0, seed: 9 });
  assert.deepEqual([stage.compiles[0].context, stage.workers[0].loaded.threads], [256, 1]);
  const done = await wllama.createCompletion({ prompt: "one two three", max_tokens: 2, temp: 0.5, penalty_repeat: 1.1, cache_prompt: true });
  assert.equal(done.choices[0].text, "one two ");
  const { options } = stage.workers[0].asked[0];
  assert.deepEqual([options.temperature, options.repetitionPenalty, options.seed], [0.5, 1.1, 9]);
  const heard = [];
  await wllama.createChatCompletion({ messages: USER, stream: true, onData: (chunk) => heard.push(chunk.choices[0].delta.content ?? "") });
  assert.equal(heard.join(""), "one two three");
  const chunks = await all(await wllama.createCompletion({ prompt: "one two", stream: true }));
  assert.equal(chunks.map(({ choices: [{ text }] }) => text).join(""), "one two");
  await assert.rejects(wllama.createCompletion({ prompt: "x", mirostat: 2 }), { message: /mirostat/ });
  await assert.rejects(wllama.loadModel([new Blob(["a"])], { lora_adapters: [] }), { message: /lora_adapters/ });
  await wllama.exit();
  await assert.rejects(wllama.createCompletion({ prompt: "x" }), { code: "no_model" });
});

test("wllama: version 2's calls, with the prompt first, answer the text", async (t) => {
  const stage = new Stage(t);
  const wllama = new Wllama({}, { loader: stage.loader });
  await wllama.loadModel([new Blob(["GGUF"])]);
  const heard = [];
  const text = await wllama.createCompletion("one two three", { nPredict: 2, sampling: { temp: 0.5, top_k: 40, top_p: 0.9 }, useCache: true, onNewToken: (_token, piece, current) => heard.push([piece.length, current]) });
  assert.deepEqual([text, heard], ["one two ", [[4, "one "], [4, "one two "]]]);
  assert.deepEqual([stage.workers[0].asked[0].options.temperature, stage.workers[0].asked[0].options.maxTokens], [0.5, 2]);
  assert.equal(await wllama.createChatCompletion(USER, {}), "one two three");
  assert.equal((await all(await wllama.createChatCompletion(USER, { stream: true }))).at(-1).currentText, "one two three");
  await assert.rejects(wllama.createCompletion("x", { stopTokens: [1] }), { message: /stopTokens/ });
});
