/** Routing against tests/vectors/routing.json, which Python's twin is held to as well; what of texts and requests is compared. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { THRESHOLD, learned, questionOf, route, sampleOf } from "../../web/sdk/routing.js";

const VECTORS = JSON.parse(readFileSync(new URL("../vectors/routing.json", import.meta.url), "utf8"));
const ADAPTERS = Object.entries(VECTORS.profiles).map(([id, profile]) => ({ id, profile }));

const near = (found, wanted, tolerance) => found.length === wanted.length && found.every((value, i) => Math.abs(value - wanted[i]) <= tolerance);

for (const { why, vectors, texts, model, profile } of VECTORS.learned) {
  test(`a profile is what its definition says: ${why}`, () => {
    const { mean, ...rest } = learned(vectors.map((vector) => Float32Array.from(vector)), texts, model);
    const { mean: wanted, ...told } = profile;
    assert.deepEqual(rest, told);
    assert.ok(near(mean, wanted, 2e-7));
  });
}

for (const { why, vector, threshold, model, found } of VECTORS.routed) {
  test(`a request goes where its definition says: ${why}`, () => {
    const routed = route(Float32Array.from(vector), ADAPTERS, threshold, model);
    assert.deepEqual(routed.map(({ adapter }) => adapter.id), found.map(([id]) => id));
    assert.ok(near(routed.map(({ score }) => score), found.map(([, score]) => score), 1e-6));
  });
}

for (const vector of [...VECTORS.refused, [NaN, 1], [Infinity, 1]]) {
  test(`what has no direction is refused: ${vector}`, () => assert.throws(() => route(vector, ADAPTERS, THRESHOLD, ""), { code: "not_finite" }));
}

test("the threshold is one number; an adapter without a profile is left out", () => {
  assert.equal(THRESHOLD, VECTORS.threshold);
  assert.deepEqual(route([1, 0], [{ id: "a" }, { id: "b", profile: null }], -1, ""), []);
});

// --- what is compared
const LONG = Array.from({ length: 900 }, (_, i) => `line ${i} of a long text`).join("\n");
/** [why, examples, what of the sample holds] @type {[string, any[], (sample: string[]) => boolean][]} */
const SAMPLES = [
  ["nothing of nothing", ["", "  \n"], (found) => found.length === 0],
  ["a short text as it is", [" a text\n"], (found) => found.join() === "a text"],
  ["a long text is spread, in whole lines", [LONG], (found) => found.length === 32 && found[0].startsWith("line 0 ") && /line 8[6-9]\d/.test(found[31]) && found.every((part) => part.length <= 400 && part.startsWith("line") && part.endsWith("text"))],
  ["a line without an end is cut in whole characters", ["😀".repeat(900)], (found) => found.map((part) => [...part].length).join() === "400,400,100"],
  ["every text has its share", Array.from({ length: 64 }, (_, i) => `text ${i}`), (found) => found.length === 32 && found[31] === "text 63"],
  ["of a pair the question, else the answer", [{ input: "q", output: "a" }, { input: " ", output: "b" }], (found) => found.join() === "q,b"],
  ["a file's text", [{ name: "x.txt", text: "words" }], (found) => found.join() === "words"],
  ["of a file of lines each example, and no JSON", [{ name: "x.JSONL", text: '{"input": "q", "output": "a"}\n{"text": "t"}\n"s"\n{broken\n7\nnull\n' }], (found) => found.join() === "q,t,s"],
];
for (const [why, examples, holds] of SAMPLES) test(`sampled is ${why}`, () => assert.ok(holds(sampleOf(examples)), JSON.stringify(sampleOf(examples))));

const says = (role, content) => ({ role, content });
/** @type {[string, any, string][]} */
const QUESTIONS = [
  ["a prompt", " def f(x):\n", "def f(x):"],
  ["the end of a long prompt", `${"a".repeat(900)}${"b".repeat(400)}`, `${"a".repeat(100)}${"b".repeat(400)}`],
  ["whole characters of one", "😀".repeat(600), "😀".repeat(500)],
  ["the last question", [says("system", "be kind"), says("user", "one"), says("assistant", "two"), says("user", "three"), says("tool", "four")], "three"],
  ["the last message where nobody asks", [says("system", "be kind"), says("assistant", "two")], "two"],
  ["nothing", " \n", ""],
];
for (const [why, asked, question] of QUESTIONS) test(`compared is ${why}`, () => assert.equal(questionOf(asked), question));
