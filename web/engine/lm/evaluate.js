/** Logits of given tokens, for tests and evaluation: the same engine and pages, beside whatever else runs. Worker and Node. */
import { ContextFull } from "../../sdk/errors.js";
import { checkTokens } from "./prompt.js";
import { readOptions, rowOf } from "./sampling.js";

const GREEDY = readOptions({ temperature: 0, seed: 0 });

/**
 * @param {{engine: any, pages?: import("./pages.js").Pages, breath: () => Promise<void>}} host @param {number[]} tokens
 * @param {{signal?: AbortSignal, adapters?: import("./adapters.js").Mix}} [options] @returns {Promise<Float32Array>} n x vocabulary: after each token
 * @throws InvalidOption; ContextFull: more tokens than the context, or than there are pages now
 */
export async function evaluate({ engine, pages, breath }, tokens, { signal, adapters = [] } = {}) {
  const { capacity: { rows, wanted, context }, vocabulary } = engine;
  checkTokens(tokens, vocabulary);
  const lease = /** @type {import("./pages.js").Pages} */ (pages).open("", []); // finds no prefix and, never advanced, leaves none
  try {
    if (tokens.length > context || !lease.reserve(tokens.length)) throw new ContextFull(`${tokens.length} tokens do not fit now: the context holds ${context}, and other requests hold pages.`, { tokens: tokens.length, context });
    const logits = new Float32Array(tokens.length * vocabulary);
    for (let at = 0; at < tokens.length; ) {
      await breath();
      if (signal?.aborted) throw signal.reason;
      const part = tokens.slice(at, at + Math.min(rows, wanted));
      if (!engine.run(batchOf(part, at, lease.pages, adapters))) continue; // another request was stopped in it
      logits.set(engine.logits(part.length), at * vocabulary);
      at += part.length;
    }
    return logits;
  } finally {
    lease.close();
  }
}

/** @param {number[]} tokens @param {number} first @param {number[]} pages @param {import("./adapters.js").Mix} adapters @returns {import("./scheduler.js").Batch} */
const batchOf = (tokens, first, pages, adapters) => ({
  tokens, positions: tokens.map((_, i) => first + i), sequences: tokens.map(() => 0), wanted: tokens.map((_, i) => i), pages: [pages], adapters: [adapters],
  sampling: tokens.map(() => rowOf(GREEDY, 0, [])),
});
