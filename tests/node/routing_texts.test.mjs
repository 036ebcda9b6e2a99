/** What of texts and requests is compared, as Python takes it: tests/vectors/routing_texts.json. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { questionOf, sampleOf } from "../../web/sdk/routing.js";

const { samples, questions } = JSON.parse(readFileSync(new URL("../vectors/routing_texts.json", import.meta.url), "utf8"));

for (const { why, examples, wanted } of samples) test(`sampled as in Python is ${why}`, () => assert.deepEqual(sampleOf(examples), wanted));
for (const { why, asked, wanted } of questions) test(`asked as in Python is ${why}`, () => assert.equal(questionOf(asked), wanted));
