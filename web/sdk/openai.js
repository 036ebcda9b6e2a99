/**
 * A session behind the OpenAI API's shapes: `chat.completions.create`, `completions.create`, `embeddings.create`. Page.
 * What is not supported is refused by name, never ignored: an answer without what was asked for would be wrong in silence.
 */
import { InvalidOption, NotText } from "./errors.js";

/** @typedef {import("./session.js").InferenceSession} InferenceSession @typedef {import("./language-session.js").Completion} Completion @typedef {import("./session.js").GenerateOptions} GenerateOptions */

/** Parameter → the engine's option. @type {Record<string, keyof GenerateOptions>} */
const SAMPLING = {
  max_tokens: "maxTokens", max_completion_tokens: "maxTokens", temperature: "temperature", top_p: "topP", top_k: "topK", min_p: "minP", stop: "stopSequences", seed: "seed",
  frequency_penalty: "frequencyPenalty", presence_penalty: "presencePenalty", repetition_penalty: "repetitionPenalty", adapters: "adapters",
};
/** The API's own defaults where they differ from the engine's: no truncation unless asked for. @type {GenerateOptions} */
const DEFAULTS = { temperature: 1, topP: 1, topK: 0, minP: 0 };
/** Read here, or without any effect on an answer. */
const SHARED = ["model", "stream", "stream_options", "n", "user", "metadata", "store", "service_tier"];
/** Refused unless they ask for nothing. @type {Record<string, (value: any) => boolean>} */
const NEUTRAL = {
  logprobs: (v) => v === false, top_logprobs: (v) => v === 0, logit_bias: (v) => Object.keys(v).length === 0, tools: (v) => v.length === 0, tool_choice: (v) => v === "none",
  response_format: (v) => v.type === "text", best_of: (v) => v === 1, echo: (v) => v === false, suffix: (v) => v === "", ignore_eos: (v) => v === false,
};
const MAX_CHOICES = 16;
/** The engine's reason → the API's. @type {Record<Completion["reason"], string>} */
const FINISH = { stop: "stop", length: "length", context: "length", abort: "abort" };

/**
 * @param {any} request @param {string} own the parameter that only this call has
 * @returns {{model: any, options: GenerateOptions, n: number, stream: boolean, withUsage: boolean}} @throws InvalidOption
 */
function readRequest(request, own) {
  const given = Object.entries(request ?? {}).filter(([, value]) => value !== null && value !== undefined);
  const refused = given.filter(([name, value]) => ![own, ...SHARED].includes(name) && !Object.hasOwn(SAMPLING, name) && !(Object.hasOwn(NEUTRAL, name) && NEUTRAL[name](value))).map(([name]) => name);
  if (refused.length) throw new InvalidOption(`EdgeNet does not support ${refused.join(", ")} here. Leave it out. Supported: ${[own, ...SHARED, ...Object.keys(SAMPLING)].join(", ")}.`, { unsupported: refused });
  const options = { ...DEFAULTS, ...Object.fromEntries(given.filter(([name]) => Object.hasOwn(SAMPLING, name)).map(([name, value]) => [SAMPLING[name], value])) };
  const { model, n, stream, stream_options } = Object.fromEntries(given);
  if (n !== undefined && !(Number.isInteger(n) && n >= 1 && n <= MAX_CHOICES)) throw new InvalidOption(`n cannot be ${n}. It takes a whole number from 1 to ${MAX_CHOICES}.`, { option: "n" });
  return { model, options, n: n ?? 1, stream: stream === true, withUsage: stream_options?.include_usage === true };
}

/** As servers of several adapters have it: `model` names one of the session's after its own id, "id:adapter". @param {InferenceSession} session @param {any} model @param {GenerateOptions} options @returns {GenerateOptions} */
function withAdapter({ id }, model, options) {
  if (typeof model !== "string" || !model.startsWith(`${id}:`)) return options;
  if (options.adapters !== undefined) throw new InvalidOption("Name adapters in the model or in the field adapters, not in both.", { option: "adapters" });
  return { ...options, adapters: model.slice(id.length + 1) };
}

/** Each choice draws with a seed of its own, the first with the one given. @param {GenerateOptions} options @param {number} i */
const seeded = (options, i) => (options.seed === undefined ? options : { ...options, seed: options.seed + i });

/** A message's text: a string, or parts that are all text. @param {any} message @param {number} item */
function readMessage(message, item) {
  const { role, content, ...rest } = message ?? {};
  const more = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined).map(([name]) => name);
  if (more.length) throw new InvalidOption(`EdgeNet does not support ${more.join(", ")} in message ${item}. Leave it out.`, { unsupported: more, item });
  const parts = Array.isArray(content) ? content : null;
  const other = parts?.find((part) => part?.type !== "text");
  if (other) throw new NotText(`Message ${item} holds a part of type "${other.type}"; these models read text alone.`, { item });
  return { role: role === "developer" ? "system" : role, content: parts ? parts.map(({ text }) => text).join("") : content };
}

/** @param {Completion[]} all of one request @param {number} n how many share each prompt, which counts once */
function usageOf(all, n) {
  const sum = (/** @type {Completion[]} */ of, /** @type {(one: Completion) => number} */ figure) => of.reduce((total, one) => total + figure(one), 0);
  const firsts = all.filter((_, i) => i % n === 0);
  const [prompt, completion] = [sum(firsts, ({ usage }) => usage.prompt), sum(all, ({ usage }) => usage.completion)];
  const { timings, usage } = all[0];
  return {
    prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: sum(firsts, ({ usage: { cached } }) => cached) },
    extra: { time_to_first_token_s: timings.firstMs / 1000, prefill_tokens_per_s: perSecond(usage.prompt - usage.cached, timings.prefillMs), decode_tokens_per_s: perSecond(usage.completion, timings.decodeMs) },
  };
}

const perSecond = (/** @type {number} */ count, /** @type {number} */ ms) => (ms > 0 ? (1000 * count) / ms : 0);

/** How the two kinds of answers differ. @typedef {{prefix: string, object: string, chunk: string, whole: (text: string) => object, first: object | null, piece: (text: string) => object, last: object}} Shape */
/** @type {Shape} */
const CHAT = {
  prefix: "chatcmpl", object: "chat.completion", chunk: "chat.completion.chunk", whole: (content) => ({ message: { role: "assistant", content } }),
  first: { delta: { role: "assistant", content: "" } }, piece: (content) => ({ delta: { content } }), last: { delta: {} },
};
/** @type {Shape} */
const TEXT = { prefix: "cmpl", object: "text_completion", chunk: "text_completion", whole: (text) => ({ text }), first: null, piece: (text) => ({ text }), last: { text: "" } };

/**
 * @param {InferenceSession} session @param {Shape} shape @param {import("./language-session.js").Input[]} inputs one choice each
 * @param {ReturnType<typeof readRequest>} request @param {AbortSignal} [signal]
 */
async function answer(session, shape, inputs, { model, options: given, n, stream, withUsage }, signal) {
  const options = withAdapter(session, model, given);
  const head = { id: `${shape.prefix}-${crypto.randomUUID()}`, created: Math.floor(Date.now() / 1000), model: options === given ? session.id : model };
  if (stream) {
    const streams = inputs.map((input, i) => session.stream(input, seeded(options, i), { signal }));
    return chunks(shape, streams, { ...head, object: shape.chunk }, withUsage ? n : 0);
  }
  const all = await Promise.all(inputs.map((input, i) => session.complete(input, seeded(options, i), { signal })));
  const choices = all.map(({ text, reason, ...more }, index) => ({ index, ...shape.whole(text), ...routedOf(more), finish_reason: FINISH[reason], logprobs: null }));
  return { ...head, object: shape.object, choices, usage: usageOf(all, n) };
}

/**
 * Chunks of all choices as they come, then, if asked for, one with the usage and no choice.
 * @param {Shape} shape @param {import("./session.js").CompletionStream[]} streams @param {object} head @param {number} usageFor choices per prompt, 0 for no usage
 */
async function* chunks(shape, streams, head, usageFor) {
  const chunk = (/** @type {number} */ index, /** @type {object} */ part, /** @type {string | null} */ finish_reason = null) => ({ ...head, choices: [{ index, ...part, finish_reason, logprobs: null }] });
  try {
    if (shape.first) for (const index of streams.keys()) yield chunk(index, shape.first);
    for await (const { index, text } of merged(streams)) {
      if (text !== null) yield chunk(index, shape.piece(text));
      else {
        const { reason, ...more } = await streams[index].result;
        yield chunk(index, { ...shape.last, ...routedOf(more) }, FINISH[reason]);
      }
    }
    if (usageFor) yield { ...head, choices: [], usage: usageOf(await Promise.all(streams.map(({ result }) => result)), usageFor) };
  } finally {
    for (const stream of streams) stream.return?.();
  }
}

/** Pieces of several streams in the order of arrival; `text` null where one ends. @param {AsyncIterableIterator<string>[]} streams */
async function* merged(streams) {
  const step = async (/** @type {number} */ index) => ({ index, found: await streams[index].next() });
  const next = new Map(streams.map((_, index) => [index, step(index)]));
  while (next.size) {
    const { index, found } = await Promise.race(next.values());
    if (found.done) next.delete(index);
    else next.set(index, step(index));
    yield { index, text: found.done ? null : found.value };
  }
}

/** Of `adapters: "auto"`, which one answered; nothing of another request. @param {{routed?: any}} completion */
const routedOf = ({ routed }) => (routed === undefined ? {} : { routed });

/** n times each, in the API's order. @template T @param {T[]} items @param {number} n @returns {T[]} */
const repeated = (items, n) => items.flatMap((item) => Array.from({ length: n }, () => item));

/**
 * A session as an OpenAI client has it. Every `create` takes `{signal}` as its second argument, as the client library does.
 * @param {() => InferenceSession | Promise<InferenceSession>} current the session that answers
 */
export function openAI(current) {
  return {
    chat: {
      completions: {
        /** @param {any} request @param {{signal?: AbortSignal}} [options] @returns {Promise<any>} a ChatCompletion, or with `stream: true` an async iterator of chunks */
        async create(request, { signal } = {}) {
          const read = readRequest(request, "messages");
          if (!Array.isArray(request.messages)) throw new InvalidOption("chat.completions.create needs messages: a list of {role, content}.", { option: "messages" });
          return answer(await current(), CHAT, repeated([{ messages: request.messages.map(readMessage) }], read.n), read, signal);
        },
      },
    },
    completions: {
      /** @param {any} request `prompt`: a text or several @param {{signal?: AbortSignal}} [options] @returns {Promise<any>} */
      async create(request, { signal } = {}) {
        const read = readRequest(request, "prompt");
        return answer(await current(), TEXT, repeated([request.prompt].flat().map((prompt) => ({ prompt })), read.n), read, signal);
      },
    },
    embeddings: {
      /** @param {{input: string | string[], model?: string, encoding_format?: "float"}} request @param {{signal?: AbortSignal}} [options] */
      async create({ input, model, encoding_format = "float", ...rest }, { signal } = {}) {
        const refused = [...Object.keys(rest), ...(encoding_format === "float" ? [] : ["encoding_format"])];
        if (refused.length) throw new InvalidOption(`EdgeNet does not support ${refused.join(", ")} here. Leave it out.`, { unsupported: refused });
        const [session, texts] = [await current(), [input].flat()];
        const [vectors, counts] = await Promise.all([session.embedBatch(texts, { signal }), session.countTokens(texts)]);
        const tokens = counts.reduce((sum, n) => sum + n, 0);
        const data = vectors.map((vector, index) => ({ object: "embedding", index, embedding: Array.from(vector) }));
        return { object: "list", data, model: session.id, usage: { prompt_tokens: tokens, total_tokens: tokens } };
      },
    },
  };
}
