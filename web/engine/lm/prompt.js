/** What every decoder asks of a prompt, and what a context that is full forgets. Pure, runs anywhere. */
import { ContextFull, EmptyText, InvalidOption } from "../../sdk/errors.js";

/** What kernels are never asked to judge. @param {number[]} tokens @param {number} vocabulary @throws {EmptyText | InvalidOption} */
export function checkTokens(tokens, vocabulary) {
  if (!tokens.length) throw new EmptyText("The prompt is empty. Give it at least a word.", {});
  const wrong = tokens.find((token) => !(Number.isInteger(token) && token >= 0 && token < vocabulary));
  if (wrong !== undefined) throw new InvalidOption(`The token ${wrong} is not one of the model's ${vocabulary}.`, { option: "tokens" });
}

/**
 * @param {number[]} tokens @param {{vocabulary: number, context: number}} model @param {"stop" | "shift"} policy of a full context
 * @throws {EmptyText | InvalidOption | ContextFull}
 */
export function checkPrompt(tokens, { vocabulary, context }, policy) {
  checkTokens(tokens, vocabulary);
  if (tokens.length <= context || policy === "shift") return;
  throw new ContextFull(`The prompt has ${tokens.length} tokens, the context holds ${context}. Shorten it, or ask for contextPolicy "shift", which forgets its beginning.`, { tokens: tokens.length, context });
}

/** The first `keep` tokens, a quarter of the context at most, and the latest that fill it to the half. @param {number[]} tokens @param {number} keep @param {number} context */
export function shifted(tokens, keep, context) {
  const kept = Math.min(keep, context >> 2);
  return [...tokens.slice(0, kept), ...tokens.slice(kept - Math.max(1, context >> 1))];
}
