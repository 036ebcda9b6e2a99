/**
 * An encoder compiled to a Program, on the engine of the site's kernel pack: texts lie one after another in a run, none of them padded.
 * Engine worker. A build that fails here makes room for the next one, and says so.
 */
import { ModelInvalid } from "../sdk/errors.js";
import { TextTokenizer } from "../text/tokenizer.js";
import { packs, rowsOf } from "./lm/embed.js";
import { Model, openFiles } from "./lm/model.js";
import { MAX_TOKENS } from "./split.js";
import { remembering } from "./tokenize.js";

/** Said by the Hub of every page, whatever the model; or of no interest to somebody who embeds. */
const UNSAID = ["one_thread", "engine_build"];

/** @param {any} manifest of a complete model in the store @param {import("./model.js").Setting} setting @returns {Promise<import("./embedder.js").Encoder>} @throws ModelInvalid, NotCached and what the last build failed with */
export async function programEncoder({ id, version }, { threads, without, urls, emit, lost }) {
  const files = await openFiles({ id, version });
  try {
    const tokenizer = programTokenizer(files.tokenizer);
    const said = (/** @type {any} */ event) => { if (event.status !== "progress" && !UNSAID.includes(event.code)) emit(event); };
    const model = await Model.open({ files, urls, threads, without, lost, emit: said });
    if (model.engine.dimensions) return encoder(model, tokenizer);
    model.dispose();
    throw new ModelInvalid(`${id} ${version} is published as an encoder, but its Program gives no vectors. Ask its publisher.`, { id });
  } catch (error) {
    files.release();
    throw error;
  }
}

/** @param {Model} model @param {import("./tokenize.js").ModelTokenizer} tokenizer @returns {import("./embedder.js").Encoder} */
function encoder(model, tokenizer) {
  const { capacity, dimensions } = model.engine;
  return {
    tokenizer, dims: dimensions, maxTokens: Math.min(MAX_TOKENS, capacity.rows, capacity.context),
    plan: (lengths) => packs(lengths, capacity),
    async run(lists) {
      for (;;) {
        try {
          return /** @type {Float32Array} */ (model.engine.embed(rowsOf(lists), lists.length));
        } catch (error) {
          await model.recover(/** @type {Error} */ (error)); // throws it where no other build is left
        }
      }
    },
    memory: () => model.memory().wasmBytes,
    dispose: () => model.dispose(),
    get build() { return model.engine.build.name; },
  };
}

/** Special tokens that a text spells out count as such, as the tokenizers of encoders have always had it. @param {any} json @returns {import("./tokenize.js").ModelTokenizer} */
export function programTokenizer(json) {
  const tokenizer = new TextTokenizer(json);
  const encode = (/** @type {string} */ text) => tokenizer.encode(text, { special: true, around: true });
  return { encode, count: (text) => encode(text).length, countUnit: remembering((unit) => tokenizer.countTokens(unit, { special: true })) };
}
