/** The buffers by which a host talks to a Program: those of a decoder and of an encoder. Pure, runs anywhere. */
import { InvalidProgram } from "../../sdk/errors.js";
import { HISTORY, WORDS } from "./sampling.js";

const ROWS = { tokens: ["i32", "n"], positions: ["i32", "n"], sequences: ["i32", "n"] };
/** Output → buffers beside it, as [dtype, ...shape]; a name in capitals is a size of this Program. @type {Record<string, Record<string, (string | number)[]>>} */
const FACES = {
  logits: { ...ROWS, wanted: ["i32", "m"], pages: ["i32", "SEQUENCES", "PAGES"], sampling: ["u32", "m", WORDS], history: ["i32", "m", HISTORY], picked: ["i32", "m"], logits: ["f32", "m", "ANY"] },
  embedding: { ...ROWS, embedding: ["f32", "s", "ANY"] },
};

/** @param {any} program a validated one @throws {InvalidProgram} it gives neither logits nor embeddings, or a buffer has another shape */
export function checkFace({ buffers, capacity }) {
  const found = new Map(buffers.map((/** @type {any} */ buffer) => [buffer.name, [buffer.dtype, ...buffer.shape]]));
  const kind = Object.keys(FACES).find((name) => found.has(name));
  if (!kind) throw new InvalidProgram(`The Program has no output "logits" or "embedding", only ${[...found.keys()].join(", ")}. Compile the model with one.`, { found: [...found.keys()] });
  const sizes = /** @type {Record<string, number>} */ ({ SEQUENCES: capacity.sequences, PAGES: capacity.context / capacity.page, ANY: found.get(kind)[2] });
  for (const [name, shape] of Object.entries(FACES[kind])) {
    const expected = shape.map((size) => sizes[size] ?? size);
    if (String(found.get(name)) !== String(expected)) throw new InvalidProgram(`The buffer "${name}" of the Program must be ${expected.join(" ")}, found ${found.get(name)?.join(" ") ?? "none"}. Compile the model anew.`, { buffer: name });
  }
}
