/** Judges Programs for tests/unit/test_program_fuzz.py: a JSON list of texts in, a list of error codes or records in hex out. */
import { readFileSync } from "node:fs";
import { lower, parseProgram } from "../../web/engine/lm/program.js";

const table = JSON.parse(readFileSync(new URL("../vectors/program/table.json", import.meta.url), "utf8"));

function outcome(text) {
  try {
    const program = parseProgram(text, table);
    const none = program.weights.map(() => 0);
    return Buffer.from(lower(program, table, { arena: 0, kv: 0, constants: 0, state: 0, weights: none }, none).buffer).toString("hex");
  } catch (error) {
    return error.code ?? String(error.stack);
  }
}
process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(outcome)));
