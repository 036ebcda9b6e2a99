/**
 * Messages to a prompt by the model's own chat template. Runs anywhere; twin of `pysrc/edgenet/text/chat.py`, tied by `tests/vectors/chat/`.
 *
 * What a message says can never become a special token: before rendering, special strings inside it are broken by a noncharacter (U+FDD0 to
 * U+FDEF) that occurs nowhere in it; the rendered text is cut at special tokens; the mark is taken out again and each part encoded plainly.
 */
import { InvalidOption, NoChatTemplate } from "../sdk/errors.js";
import { runTemplate } from "./templates.js";

/**
 * @typedef {object} Chat what a template is given
 * @property {Record<string, unknown>[]} messages
 * @property {boolean} [addGenerationPrompt] true unless given
 * @property {Record<string, unknown>[] | null} [tools]
 * @property {Record<string, unknown>} [options] the template's own switches (`enable_thinking`, `documents`)
 * @property {Date} [now] for templates that print the date
 */
/** @typedef {{bos: number | null, addBos: boolean, eos: number[], special: Record<string, number>, chatTemplate: string | null, name?: string | null}} Generation */

/**
 * The prompt's text, as `apply_chat_template` of transformers gives it. To make tokens of it is not safe: use `tokenizeChat`. Throws NoChatTemplate,
 * MessagesRefused in the template's own words, ChatTemplateInvalid and ChatTemplateRefused for a template that is broken or does what none may.
 * @param {Generation} generation the content of generation.json @param {Chat} chat
 */
export function renderChat(generation, chat) {
  const { text, mark } = rendered(generation, chat);
  return text.replaceAll(mark, "");
}

/**
 * The prompt's token ids, begun by the first token once if the model wants it. Throws as `renderChat` does.
 * @param {import("./tokenizer.js").TextTokenizer} tokenizer @param {Generation} generation @param {Chat} chat
 * @returns {number[]}
 */
export function tokenizeChat(tokenizer, generation, chat) {
  const { text, mark } = rendered(generation, chat);
  const ids = tokenizer.encode(text, { special: true, mark });
  const { bos, addBos } = generation;
  return addBos && bos !== null && ids[0] !== bos ? [bos, ...ids] : ids;
}

/** @param {Generation} generation @param {Chat} chat */
function rendered(generation, { messages, addGenerationPrompt = true, tools = null, options = {}, now }) {
  if (!generation.chatTemplate) {
    const name = generation.name || "This model";
    throw new NoChatTemplate(`${name} has no chat template. Complete a prompt with it, or take a model made for chats.`);
  }
  const data = { messages, tools, ...options };
  const mark = unused(data);
  const broken = breaker(Object.keys(generation.special ?? {}), mark)(data);
  const values = { ...names(generation), ...broken, add_generation_prompt: addGenerationPrompt };
  return { text: runTemplate(generation.chatTemplate, values, now), mark };
}

/** `bos_token` and `eos_token`, which templates write themselves. @param {Generation} generation */
function names({ special, bos, eos }) {
  const text = new Map(Object.entries(special ?? {}).map(([name, id]) => [id, name]));
  return { bos_token: text.get(bos ?? -1) ?? "", eos_token: text.get(eos?.[0] ?? -1) ?? "" };
}

/** A noncharacter that the messages do not hold. */
function unused(data) {
  const said = strings(data);
  for (let code = 0xfdd0; code <= 0xfdef; code++) {
    const mark = String.fromCharCode(code);
    if (!said.some((text) => text.includes(mark))) return mark;
  }
  throw new InvalidOption("The messages hold every noncharacter from U+FDD0 to U+FDEF: none is left to work with. Take one of them out.");
}

/** @returns {string[]} */
function strings(value) {
  if (typeof value === "string") return [value];
  return value && typeof value === "object" ? Object.entries(value).flatMap(([key, item]) => [key, ...strings(item)]) : [];
}

/**
 * Puts the mark into special strings, and where a text's edge could be a part of one that its neighbour completes.
 * @param {string[]} all special texts @param {string} mark
 */
function breaker(all, mark) {
  const special = all.filter((text) => text.length > 1).sort((a, b) => b.length - a.length);
  const starts = [...new Set(special.flatMap((text) => parts(text, (n) => text.slice(0, n))))];
  const ends = [...new Set(special.flatMap((text) => parts(text, (n) => text.slice(n))))];
  const broken = (text) => {
    for (const one of special) text = text.replaceAll(one, () => one[0] + mark + one.slice(1));
    const end = text.trimEnd().length;
    if (starts.some((part) => text.slice(0, end).endsWith(part))) text = text.slice(0, end) + mark + text.slice(end);
    const start = text.length - text.trimStart().length;
    return ends.some((part) => text.startsWith(part, start)) ? text.slice(0, start) + mark + text.slice(start) : text;
  };
  /** @returns {any} */
  const walk = (value) => {
    if (typeof value === "string") return broken(value);
    if (Array.isArray(value)) return value.map(walk);
    if (!value || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item)]));
  };
  return walk;
}

const parts = (text, cut) => Array.from({ length: text.length - 1 }, (_, i) => cut(i + 1));
