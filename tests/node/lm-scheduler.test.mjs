/**
 * Continuous batching over a played engine whose numbers come through the page tables: a wrong page, position, order or draw gives another text.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readOptions } from "../../web/engine/lm/sampling.js";
import { fairShares } from "../../web/engine/lm/scheduler.js";
import { VOCABULARY, generate, played, prompt } from "./played-engine.mjs";

const REQUESTS = [
  { tokens: prompt(5) }, { tokens: prompt(23, 2), seed: 9 }, { tokens: prompt(1, 3), repetitionPenalty: 1.2 }, { tokens: [...prompt(23, 2), 5] },
  { tokens: prompt(11, 4), maxTokens: 3 }, { tokens: prompt(40, 5), maxTokens: 20 },
];
const alone = await Promise.all(REQUESTS.map(async (request) => (await generate(played(), request)).drawn));

const BATCHES = [
  ["six requests over four places", {}],
  ["a place for one at a time", { wanted: 1 }],
  ["runs of four rows", { rows: 4 }],
  ["so few pages that some must give way", { pages: 17 }],
];
for (const [what, capacity] of BATCHES) {
  test(`scheduler: the same tokens together as alone: ${what}`, async () => {
    const house = played(capacity);
    const together = await Promise.all(REQUESTS.map((request) => generate(house, request)));
    assert.deepEqual(together.map(({ drawn }) => drawn), alone);
    assert.deepEqual([...house.pages.nodes].filter((node) => node.leases), []);
    assert.equal(house.pages.leases.size, 0);
  });
}

test("scheduler: a prompt that was seen is not computed again, and says the same", async () => {
  const house = played();
  const first = await generate(house);
  const runs = house.engine.runs.length;
  const again = await generate(house);
  assert.deepEqual(again.drawn, first.drawn);
  assert.deepEqual([first.usage, again.usage], [{ prompt: 5, completion: 12, cached: 0 }, { prompt: 5, completion: 12, cached: 4 }]);
  assert.equal(house.engine.runs.length - runs, 12);
  const longer = await generate(house, { tokens: [...prompt(5), ...first.drawn, 3, 4] });
  assert.equal(longer.usage.cached, 16, "all that was run: the last token drawn was not");
});

const ENDS = [
  ["maxTokens", { maxTokens: 4 }, "length", 4],
  ["a token that ends answers, which is no part of the answer", { eos: [alone[0][3]] }, "stop", 3],
  ["the text layer has enough", { onToken: (_, drawn) => drawn.length === 2 }, "stop", 2],
  ["a full context", { tokens: prompt(60), maxTokens: Infinity }, "context", 5],
];
for (const [what, request, reason, count] of ENDS) {
  test(`scheduler: an answer ends by ${what}`, async () => {
    const outcome = await generate(played(), request);
    assert.deepEqual([outcome.reason, outcome.drawn.length, outcome.usage.completion], [reason, count, count]);
  });
}

test("scheduler: a shifted context goes on as if the kept tokens had been the prompt", async () => {
  const shifted = await generate(played(), { tokens: prompt(60), contextPolicy: "shift", keep: 2, maxTokens: 8 });
  const text = [...prompt(60), ...shifted.drawn.slice(0, 5)];
  const anew = await generate(played(), { tokens: [...text.slice(0, 2), ...text.slice(-30)], maxTokens: 3 });
  assert.equal(shifted.reason, "length");
  assert.equal(shifted.drawn.length, 8);
  const step = (5 * 17) % VOCABULARY; // the draws go on counting
  assert.equal(shifted.drawn[5], (anew.drawn[0] + step) % VOCABULARY);
});

test("scheduler: a prompt longer than the context is refused, or shifted when asked", async () => {
  const house = played();
  await assert.rejects(generate(house, { tokens: prompt(65) }), { code: "context_full" });
  assert.equal((await generate(house, { tokens: prompt(65), contextPolicy: "shift" })).reason, "length");
});

const REFUSED = [
  ["a token beyond the vocabulary", { tokens: [VOCABULARY] }],
  ["a token that is no number", { tokens: ["a"] }],
  ["no token", { tokens: [] }, "empty_text"],
  ["an unknown option", { heat: 1 }],
  ["a negative temperature", { temperature: -1 }],
  ["an empty stop sequence", { stopSequences: [""] }],
  ["a shifting context without maxTokens", { contextPolicy: "shift", maxTokens: Infinity }],
];
for (const [what, request, code = "invalid_option"] of REFUSED) {
  test(`scheduler: refused by name: ${what}`, async () => {
    await assert.rejects(generate(played(), request), { code });
  });
}

test("scheduler: who decodes always has a row, prompts share the rest evenly", () => {
  const sequences = [{ left: 100 }, { left: 1 }, { left: 3 }, { left: 100 }];
  const counts = fairShares(sequences, 32).map(({ sequence, count }) => [sequence.left, count]);
  assert.deepEqual(counts, [[1, 1], [3, 3], [100, 14], [100, 14]]);
  assert.deepEqual(fairShares([{ left: 100 }], 32).map(({ count }) => count), [32]);
});

test("scheduler: an aborted request ends at the next run and gives its pages back; the others go on", async () => {
  const house = played();
  const controller = new AbortController();
  const [gone, stays] = await Promise.all([
    generate(house, { maxTokens: 1000, signal: controller.signal, onToken: (_, drawn) => { if (drawn.length === 3) controller.abort(); } }),
    generate(house, REQUESTS[1]),
  ]);
  assert.deepEqual([gone.reason, gone.drawn.length], ["abort", 3]);
  assert.deepEqual(stays.drawn, alone[1]);
  assert.equal(house.pages.leases.size, 0);
});

test("scheduler: a request aborted before it begins, or while it waits, draws nothing", async () => {
  const house = played({ wanted: 1 });
  const controller = new AbortController();
  const [first, waits] = [generate(house), generate(house, { signal: controller.signal })];
  controller.abort();
  assert.deepEqual([(await waits).reason, (await waits).drawn], ["abort", []]);
  assert.deepEqual((await generate(house, { signal: AbortSignal.abort() })).drawn, []);
  assert.deepEqual((await first).drawn, alone[0]);
});

test("scheduler: a listener that aborts others, and itself at the end of a context, leaves nothing behind", async () => {
  const house = played();
  const [own, others] = [new AbortController(), new AbortController()];
  const requests = [
    generate(house, { tokens: prompt(63), contextPolicy: "shift", maxTokens: 50, signal: own.signal, onToken: (_, drawn) => { if (drawn.length === 2) own.abort(); others.abort(); } }),
    generate(house, { ...REQUESTS[1], signal: others.signal }),
    generate(house, REQUESTS[0]),
  ];
  const outcomes = await Promise.all(requests);
  assert.deepEqual(outcomes.map(({ reason }) => reason), ["abort", "abort", "length"]);
  assert.deepEqual(outcomes[2].drawn, alone[0]);
  assert.equal(house.pages.leases.size, 0);
});

test("scheduler: a run that was aborted counts for nothing", async () => {
  const house = played();
  let runs = 0;
  house.engine.before = () => { house.engine.aborting = runs++ % 3 === 1; };
  assert.deepEqual((await generate(house, REQUESTS[1])).drawn, alone[1]);
});

test("scheduler: after a broken engine everybody goes on with the same tokens on the next one", async () => {
  const errors = [];
  const house = played({ recover: async (error, make) => { errors.push(error.message); return make(); } });
  let runs = 0;
  house.engine.before = () => { if (++runs === 5) throw new Error("trapped"); };
  const outcomes = await Promise.all(REQUESTS.map((request) => generate(house, request)));
  assert.deepEqual(errors, ["trapped"]);
  assert.deepEqual(outcomes.map(({ drawn }) => drawn), alone);
});

test("scheduler: with no other engine the failure is everybody's, and the next request fails alone", async () => {
  const house = played();
  house.engine.before = () => { throw new Error("trapped"); };
  const found = await Promise.allSettled(REQUESTS.map((request) => generate(house, request)));
  assert.deepEqual(found.map(({ status, reason }) => [status, reason?.message]), REQUESTS.map(() => ["rejected", "trapped"]));
  house.engine.before = undefined;
  assert.deepEqual((await generate(house)).drawn, alone[0]);
});

test("scheduler: a listener that throws fails its own request only", async () => {
  const house = played();
  const [broken, fine] = await Promise.allSettled([generate(house, { onToken() { throw new Error("mine"); } }), generate(house, REQUESTS[1])]);
  assert.equal(broken.reason.message, "mine");
  assert.deepEqual(fine.value.drawn, alone[1]);
  assert.equal(house.pages.leases.size, 0);
});

for (const [value, found] of /** @type {[any, string][]} */ ([[5n, "5"], [NaN, "NaN"], ["5", '"5"'], [-Infinity, "-Infinity"]])) {
  test(`scheduler: an option of ${String(value)} is refused with what was found`, () => {
    assert.throws(() => readOptions({ seed: value }), { code: "invalid_option", message: `seed must be a whole number from 0, found ${found}.` });
  });
}

test("scheduler: the seed is drawn when none is given, and told", () => {
  const seeds = new Set(Array.from({ length: 4 }, () => readOptions().seed));
  assert.ok(seeds.size > 1);
  assert.ok([...seeds].every((seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32));
  assert.equal(readOptions({ seed: 2 ** 40 }).seed, 2 ** 40);
});
