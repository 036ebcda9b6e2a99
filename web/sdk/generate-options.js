/**
 * What can be said about one generation, judged in the page before anything is sent; the table of options is the engine's. Page and Node.
 */
import { readOptions } from "../engine/lm/sampling.js";
import { AUTO } from "./adapter-router.js";
import { readChoice } from "./adapters.js";
import { EmptyBatch, NotText } from "./errors.js";

/**
 * @typedef {object} GenerateOptions docs/language-models.md has the ranges and defaults
 * @property {number} [maxTokens] tokens to make at most
 * @property {number} [temperature] 0 takes the likeliest token each time
 * @property {number} [topK] draw among the k likeliest; 0 for all
 * @property {number} [topP] draw among the likeliest that together reach this share
 * @property {number} [minP] leave out what is less likely than this share of the likeliest
 * @property {number} [repetitionPenalty] above 1 makes tokens of the last 256 less likely
 * @property {number} [frequencyPenalty] taken off a token's logit for each time it occurred
 * @property {number} [presencePenalty] taken off once if it occurred
 * @property {number} [seed] equal seeds, prompts and options give equal texts; drawn where none is given, and told in the answer
 * @property {string | string[]} [stopSequences] the text ends before the first of these
 * @property {import("./adapters.js").AdapterWish} [adapters] that are loaded; default: those of `session.adapters.use`; `[]`: none; `"auto"`: the saved one that the request is like
 * @property {"stop" | "shift"} [contextPolicy] at a full context: end (reason "context"), or forget the oldest half and go on
 *
 * @typedef {{role: string, content: string}} Message
 */

/**
 * The options with every default filled in; `null` counts as not given. Adapters stand apart: which ones "auto" means is known when it is asked.
 * @param {GenerateOptions | null} [given] @param {{id: string, scale: number}[] | "auto"} [used] adapters where none are given
 * @returns {{options: import("../engine/lm/sampling.js").Options, choice: {id: string, scale: number}[] | "auto"}}
 * @throws InvalidOption which says which option and what it takes
 */
export function readGenerateOptions(given, used = []) {
  const { stopSequences, adapters, ...rest } = given ?? {};
  const choice = readChoice(adapters ?? used);
  const options = readOptions({ ...rest, stopSequences: typeof stopSequences === "string" ? [stopSequences] : stopSequences, adapters: choice === AUTO ? [] : choice });
  return { options, choice };
}

/**
 * Messages of a chat: at least one, each with a role and a text. The model's own template decides which roles it knows.
 * @param {any} messages @returns {Message[]} @throws EmptyBatch, NotText
 */
export function readMessages(messages) {
  if (!Array.isArray(messages) || !messages.length) throw new EmptyBatch('A chat needs a list of messages, such as [{role: "user", content: "Hello"}].', {});
  messages.forEach((message, item) => {
    for (const field of ["role", "content"]) {
      if (typeof message?.[field] !== "string") throw new NotText(`The ${field} of message ${item} must be a string, found ${typeof message?.[field]}.`, { item, field });
    }
  });
  return messages.map(({ role, content }) => ({ role, content }));
}
