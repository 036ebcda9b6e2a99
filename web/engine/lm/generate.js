/** One answer: prompt to tokens, tokens to pieces of text, stop sequences across their borders. Worker and Node; the scheduler does the rest. */
import { InvalidOption, NotSupported } from "../../sdk/errors.js";
import { tokenizeChat } from "../../text/chat.js";
import { StopSequences } from "../../text/stops.js";
import { readOptions } from "./sampling.js";

/**
 * @typedef {{prompt: string} | {messages: {role: string, content: string}[]} | {tokens: number[]}} Input
 * @typedef {{tokenizer: import("../../text/tokenizer.js").TextTokenizer, generation: any, key: string, scheduler: Pick<import("./scheduler.js").Scheduler, "generate">,
 *   adapters?: Pick<import("./adapters.js").Adapters, "acquire">}} Speaker `key`: of the weights
 */

/**
 * @param {Speaker} speaker @param {Input & {options?: any}} asked @param {{signal?: AbortSignal, emit: (event: any) => void}} context
 *   events `{status: "prefill", loaded, total}` and `{status: "piece", text, tokens}`: `tokens` are those drawn since the last piece
 */
export async function generate(speaker, { options: given, ...input }, { signal, emit }) {
  const { tokenizer, generation, key, scheduler } = speaker;
  const options = readOptions(given);
  const tokens = promptOf(speaker, /** @type {Input} */ (input));
  const [stops, stream] = [new StopSequences([...options.stopSequences, ...generation.stop]), tokenizer.stream()];
  const drawn = /** @type {number[]} */ ([]);
  let [text, told] = ["", 0];
  const say = (/** @type {string} */ piece) => {
    if (!piece) return;
    text += piece;
    emit({ status: "piece", text: piece, tokens: drawn.slice(told) });
    told = drawn.length;
  };
  const held = options.adapters.length ? await hold(speaker, options.adapters) : null;
  const outcome = await scheduler.generate({
    tokens, options, key: key + (held?.key ?? ""), adapters: held?.mix, signal, eos: new Set(generation.eos), keep: Number(tokens[0] === generation.bos),
    onPrefill: (loaded, total) => emit({ status: "prefill", loaded, total }),
    onToken(token) {
      drawn.push(token);
      say(stops.push(stream.push(token)));
      return stops.found !== null;
    },
  }).finally(() => held?.release());
  say(stops.push(stream.end()) + stops.end());
  return { text, tokens: drawn, ...outcome, seed: options.seed };
}

/** @param {Speaker} speaker @param {import("./adapters.js").Wish[]} wishes */
function hold({ adapters }, wishes) {
  if (!adapters) throw new NotSupported("Adapters run on EdgeNet's own engine alone: load a GGUF file of this model.", {});
  return adapters.acquire(wishes);
}

/** What a prompt may be → its tokens. @type {Record<string, (speaker: Speaker, value: any) => number[]>} */
const PROMPTS = {
  prompt: ({ tokenizer, generation: { addBos, bos } }, text) => [...(addBos && bos !== null ? [bos] : []), ...tokenizer.encode(text)],
  messages: ({ tokenizer, generation }, messages) => tokenizeChat(tokenizer, generation, { messages }),
  tokens: (_speaker, tokens) => Array.from(tokens),
};

/** @param {Speaker} speaker @param {Record<string, any>} input */
function promptOf(speaker, input) {
  const [name, more] = Object.keys(PROMPTS).filter((kind) => input[kind] !== undefined);
  if (!name || more) throw new InvalidOption("Give exactly one of prompt, messages and tokens.", { option: "prompt" });
  return PROMPTS[name](speaker, input[name]);
}
