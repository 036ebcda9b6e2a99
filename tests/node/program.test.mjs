/** Programs in the browser: the vectors that Python passes too (tests/unit/test_program_judge.py). */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { RULES } from "../../web/engine/lm/judge.js";
import { cacheParts, lower, parseProgram, validate } from "../../web/engine/lm/program.js";
import { InvalidProgram } from "../../web/sdk/errors.js";

const load = (name) => JSON.parse(readFileSync(new URL(`../vectors/program/${name}.json`, import.meta.url), "utf8"));
const [table, good, hostile] = ["table", "good", "hostile"].map(load);
const programs = Object.fromEntries(good.map(({ name, program }) => [name, program]));

/** The document of a row of hostile.json, as text. */
function textOf({ text, base, path, value, times, ...row }) {
  if (text !== undefined) return text.repeat(times ?? 1);
  const put = times ? Array(times).fill(value) : value;
  if (!path.length) return JSON.stringify(put);
  const document = structuredClone(programs[base]);
  const at = path.slice(0, -1).reduce((place, key) => place[key], document);
  if (put !== undefined) Object.defineProperty(at, path.at(-1), { value: put, enumerable: true, configurable: true, writable: true });
  else delete at[path.at(-1)];
  return JSON.stringify(document);
}

test("the judge's tables are those of Python", () => assert.deepEqual(RULES, load("rules")));

for (const { name, program, addresses, layouts, words, caches } of good) {
  test(`program ${name}: is good and lowered to the records of Python`, () => {
    const read = parseProgram(JSON.stringify(program), table);
    assert.deepEqual([...lower(read, table, addresses, layouts)], words);
    assert.deepEqual(cacheParts(read, table), caches);
  });
}

for (const row of hostile) {
  test(`program refused: ${row.reason}`, () => {
    assert.throws(() => parseProgram(textOf(row), table), (error) => error instanceof InvalidProgram && error.code === row.code);
  });
}

test("validate judges a parsed value, whatever it is", () => {
  for (const value of [null, undefined, 7, "text", [], new Map()]) assert.throws(() => validate(value, table), InvalidProgram);
  validate(programs.llama, table);
});

test("a program is judged against the table it is given, not one seen before", () => {
  const other = structuredClone(table);
  other.ops[0][0] = "embed_2";
  assert.throws(() => validate(programs.llama, other), { code: "program_unknown_op" });
  validate(programs.llama, table);
});

/** Deterministic numbers in [0, 1). */
function numbers(seed) {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}
const NASTY = [null, true, 0, 1, -1, 2 ** 31, 2 ** 32, 2 ** 53, 1.5, 1e39, -0, "", "n", "__proto__", [], {}, ["slot", "n"], ["arena", 64], ["weight", 0], ["kv", 0]];

test("10,000 mutated programs: a program or a named error", () => {
  const random = numbers(3);
  const any = (items) => items[Math.floor(random() * items.length)];
  let refused = 0;
  for (let i = 0; i < 10_000; i++) {
    const document = structuredClone(programs[any(Object.keys(programs))]);
    let [at, key] = [document, any([...Object.keys(document), "code", "code", "code"])];
    while (typeof at[key] === "object" && at[key] && Object.keys(at[key]).length && random() < 0.9) [at, key] = [at[key], any(Object.keys(at[key]))];
    at[key] = any(NASTY);
    try {
      lower(parseProgram(JSON.stringify(document), table), table, { arena: 0, kv: 0, constants: 0, state: 0, weights: [] }, []);
    } catch (error) {
      assert.ok(error instanceof InvalidProgram, `${error.stack}\n${JSON.stringify([key, at[key]])}`);
      refused++;
    }
  }
  assert.ok(refused > 5000 && refused < 10_000);
});
