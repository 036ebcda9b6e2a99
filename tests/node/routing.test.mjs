/** Routing against tests/vectors/routing.json and routing_texts.json, which Python's twin is held to as well; what pages alone compare. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { THRESHOLD, learned, questionOf, route, sampleOf } from "../../web/sdk/routing.js";

const read = (name) => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"));
const [VECTORS, TEXTS] = [read("routing"), read("routing_texts")];
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

// --- what of texts and requests is compared
for (const { why, examples, wanted } of TEXTS.samples) test(`sampled as in Python is ${why}`, () => assert.deepEqual(sampleOf(examples), wanted));
for (const { why, asked, wanted } of TEXTS.questions) test(`asked as in Python is ${why}`, () => assert.equal(questionOf(asked), wanted));

/** [why, examples, the sample] @type {[string, any[], string[]][]} */
const SAMPLES = [
  ["a file's text", [{ name: "x.txt", text: "words" }], ["words"]],
  ["of a file of lines each example, and no JSON", [{ name: "x.JSONL", text: '{"input": "q", "output": "a"}\n{"text": "t"}\n"s"\n{broken\n7\nnull\n' }], ["q", "t", "s"]],
];
for (const [why, examples, sample] of SAMPLES) test(`sampled is ${why}`, () => assert.deepEqual(sampleOf(examples), sample));

const says = (role, content) => ({ role, content });
/** @type {[string, any, string][]} */
const QUESTIONS = [
  ["whole characters of one", "😀".repeat(600), "😀".repeat(500)],
  ["the last question", [says("system", "be kind"), says("user", "one"), says("assistant", "two"), says("user", "three"), says("tool", "four")], "three"],
  ["the last message where nobody asks", [says("system", "be kind"), says("assistant", "two")], "two"],
  ["nothing", " \n", ""],
];
for (const [why, asked, question] of QUESTIONS) test(`compared is ${why}`, () => assert.equal(questionOf(asked), question));

for (const { why, text, examples } of read("lines")) test(`routing: the lines of a file: ${why}`, () => assert.deepEqual(sampleOf([{ name: "x.jsonl", text }]), examples));
