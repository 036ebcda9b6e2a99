/**
 * The engine's own sampling for logits that another engine computed: a Program of one instruction, so that equal seeds draw equal tokens whatever
 * ran the model. Worker and Node.
 */
import { LanguageEngine } from "./engine.js";
import { tableOf } from "./module.js";
import { HISTORY, WORDS, rowOf } from "./sampling.js";

const ONE = { n: 1, m: 1, s: 1 };

/** Buffers of the instruction in the order of its arguments, then those that no decoder is without: name, dtype, shape. @type {(vocabulary: number) => [string, string, (string | number)[]][]} */
const parts = (vocabulary) => [
  ["logits", "f32", ["m", vocabulary]], ["sampling", "u32", ["m", WORDS]], ["history", "i32", ["m", HISTORY]], ["picked", "i32", ["m"]], ["scratch", "u32", ["m", vocabulary]],
  ...["tokens", "positions", "sequences"].map((name) => /** @type {[string, string, string[]]} */ ([name, "i32", ["n"]])), ["wanted", "i32", ["m"]], ["pages", "i32", [1, 1]],
];
const ARGUMENTS = 5;

/** @param {number} opset @param {number} vocabulary */
export function samplingProgram(opset, vocabulary) {
  let end = 0;
  const buffers = parts(vocabulary).map(([name, dtype, shape]) => {
    const offset = end;
    const columns = Number(shape[1] ?? 1);
    end += Math.ceil(columns / 16) * 64;
    return { name, region: "arena", offset, dtype, shape };
  });
  const args = [...buffers.slice(0, ARGUMENTS).map(({ offset }) => ["arena", offset]), ["slot", "m"], vocabulary];
  return {
    format: "edgenet-program", version: 1, opset, name: "sampling", capacity: { rows: 1, wanted: 1, sequences: 1, context: 1, page: 1, pages: 1, kv: "f32", sample: true },
    slots: ONE, regions: { arena: end, kv: 0, constants: 0 }, constants: "", weights: [], buffers, code: [["sample", args, 1]],
  };
}

export class Sampler {
  /** @param {import("./engine.js").Build} build one that has its own memory @param {number} vocabulary @returns {Promise<Sampler>} */
  static async open(build, vocabulary) {
    const program = samplingProgram(tableOf(build.module).opset, vocabulary);
    return new Sampler(await LanguageEngine.open({ program, sources: {}, build, fixed: true }));
  }

  /** @param {LanguageEngine} engine */
  constructor(engine) {
    this.engine = engine;
  }

  /** @param {Float32Array} logits one row @param {import("./sampling.js").Sampling} sampling @param {number} step tokens drawn before @param {number[]} tokens prompt and answer so far */
  pick(logits, sampling, step, tokens) {
    const { words, history } = rowOf(sampling, step, tokens);
    return this.draw(logits, words, history);
  }

  /** @param {Float32Array} logits one row @param {Uint32Array} words 16, as docs/engine.md has them @param {ArrayLike<number>} history up to 256 tokens @returns {number} the token */
  draw(logits, words, history) {
    const { engine, engine: { plan } } = this;
    const { views } = engine.programs.of();
    views.logits.set(logits);
    views.sampling.set(words);
    views.history.set(history);
    engine.execute(plan.program, 1, ONE);
    return views.picked[0];
  }
}
