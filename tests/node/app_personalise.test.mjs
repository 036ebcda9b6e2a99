/** Personalise without a page: what is learned from and what is held back, a course from start to end. The session is played. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { curve } from "../../web/app/personalise/curve.js";
import { estimate, paceOf } from "../../web/app/personalise/estimate.js";
import { Material, parted, readLines, trials } from "../../web/app/personalise/material.js";
import { ADVANCED, complete, configOf, COURSES, PRESETS } from "../../web/app/personalise/presets.js";
import { span } from "../../web/app/format.js";
import { TrainingDiverged } from "../../web/sdk/errors.js";
import { MemoryDatabase } from "./memory_db.mjs";
import { TEXT, desk, named } from "./personalise_desk.mjs";
import { PlayedSession } from "./played_trainer.mjs";

// --- what is learned from
test("files become examples, what cannot be read is refused with its reason, and all is there after a reload", async () => {
  const db = new MemoryDatabase();
  const material = await new Material(db).open();
  const files = [new File(["a text"], "a.md"), new File(['{"input":"q","output":"a"}\n\n"b"'], "p.jsonl"), new File(["%PDF-1.7"], "x.pdf"), new File(["  "], "e.txt")];
  await material.add(named(...files));
  assert.deepEqual(material.pieces.value.map(({ name, examples }) => [name, examples]), [["a.md", ["a text"]], ["p.jsonl", [{ input: "q", output: "a" }, "b"]]]);
  assert.deepEqual(material.refused.value.map(({ name }) => name), ["x.pdf", "e.txt"]);
  assert.match(material.refused.value[0].message, /PDF/);
  assert.equal((await new Material(db).open()).pieces.value.length, 2);
});

test("a file given again replaces the one of its name; one that is removed comes back", async () => {
  const material = await new Material(new MemoryDatabase()).open();
  await material.add(named(new File(["old"], "a.txt")));
  await material.add(named(new File(["new"], "a.txt")));
  assert.deepEqual(material.pieces.value.map(({ examples }) => examples), [["new"]]);
  const back = await material.remove("a.txt");
  assert.throws(() => material.split(), { code: "training_data_too_little" });
  await back();
  assert.equal(material.bytes, 3);
});

test("files that were removed one after another come back one by one, beside what was given since", async () => {
  const db = new MemoryDatabase();
  const material = await new Material(db).open();
  const names = () => material.pieces.value.map(({ name }) => name);
  await material.add(named(...["a", "b", "c"].map((text) => new File([text], text))));
  const [a, b] = [await material.remove("a"), await material.remove("b")];
  await material.add(named(new File(["d"], "d"), new File(["again"], "b")));
  await a();
  assert.deepEqual(names(), ["a", "b", "c", "d"]);
  await b();
  assert.deepEqual(material.pieces.value.find(({ name }) => name === "b").examples, ["again"], "what was given since is newer");
  const all = await material.remove(...names());
  assert.deepEqual(names(), []);
  await all();
  assert.deepEqual((await new Material(db).open()).pieces.value.length, 4);
});

test("what is read at the same time is all there", async () => {
  const material = await new Material(new MemoryDatabase()).open();
  let go, reached;
  const halfway = new Promise((resolve) => (reached = resolve));
  const folder = (async function* () {
    yield* named(new File(["one"], "one"));
    await new Promise((resolve) => reached((go = resolve)));
  })();
  const slow = material.add(folder);
  await halfway;
  await material.add(named(new File(["two"], "two")));
  go();
  await slow;
  assert.deepEqual(material.pieces.value.map(({ name }) => name), ["two", "one"]);
});

const LINES = [
  ["half a line", '{"input": "a"', "line 1"],
  ["a number", '"fine"\n7', "line 2"],
  ["a pair without an answer", '{"input": "a"}', "line 1"],
  ["a text that is none", '{"text": 7}', "line 1"],
];
for (const [why, text, where] of LINES)
  test(`a line of pairs that is none is told with its number: ${why}`, () => {
    assert.throws(() => readLines("p.jsonl", text), (error) => error.code === "not_text" && error.message.includes(where));
  });

const PARTS = [
  ["the end of a long text, from a line on", [TEXT], 1, (learn, held) => learn[0] + held[0] === TEXT && learn[0].endsWith("\n")],
  ["nothing of a short text", ["short"], 0, (learn) => learn[0] === "short"],
  ["one of four pairs", Array.from({ length: 4 }, (_, i) => ({ input: `${i}`, output: "x" })), 1, (learn, held) => learn.length === 3 && held[0].input === "3"],
  ["none of two pairs", [{ input: "a", output: "b" }, { input: "c", output: "d" }], 0, (learn) => learn.length === 2],
];
for (const [why, examples, count, holds] of PARTS)
  test(`held back is ${why}`, () => {
    const { learn, held } = parted(examples);
    assert.ok(held.length === count && holds(learn, held), JSON.stringify({ learn, held }));
  });

test("what it is tried with are lines of what was held back, and what stood there", () => {
  const { held } = parted([TEXT]);
  const found = trials(held);
  assert.equal(found.length, 3);
  for (const { prompt, truth } of found) assert.ok(prompt.endsWith("\n") && held[0].includes(prompt + truth));
  assert.deepEqual(trials([{ input: "q", output: "a" }]), [{ prompt: "q", truth: "a", asked: true }]);
  assert.deepEqual(trials([]), []);
});

// --- what is set
test("presets are those of the trainer, number by number", () => {
  const told = JSON.parse(readFileSync(new URL("../vectors/presets.json", import.meta.url), "utf8"));
  const rows = Object.keys(PRESETS).map((name) => [name, configOf(name, "usual")]).map(([name, c]) => [name,
    [c.r, c.loraAlpha, c.loraDropout, c.targetModules.map((module) => `${module}_proj`), c.learningRate, c.batchSize, c.maxSteps, c.maxEpochs, c.maxLength, c.strength]]);
  assert.deepEqual(Object.fromEntries(rows), told);
});

test("every course of every preset has what the form shows, and looks often enough to draw a curve", () => {
  for (const preset of Object.keys(PRESETS))
    for (const course of Object.keys(COURSES)) {
      const config = complete(configOf(preset, course));
      assert.deepEqual(Object.keys(ADVANCED).filter((name) => config[name] === undefined), []);
      assert.ok(config.maxSteps / config.evaluateEvery >= 8 && config.warmupSteps < config.maxSteps);
    }
});

test("an estimate follows the pace of the model, the length of the course and the arithmetic", async () => {
  const speed = await paceOf(new PlayedSession(), TEXT);
  assert.deepEqual(speed, { pace: 1280, tokensPerByte: 1 });
  const sizes = { bytes: 100_000, model: 9e6, parameters: 7e6 };
  const config = configOf("personal", "usual");
  const one = estimate(speed, config, sizes);
  assert.equal(one.seconds, (300 * 512 * 3) / 1280, "rows come in pairs");
  assert.equal(one.passes, (300 * 512) / 100_000);
  assert.ok(one.bytes > sizes.model);
  assert.equal(estimate(speed, config, { ...sizes, threads: 2 }).seconds, one.seconds / 2, "training has more threads than reading");
  assert.equal(estimate(speed, config, { ...sizes, trained: 256 }).seconds, 600, "a course that was, tells best");
  assert.ok(estimate(speed, { ...config, dots: "f32" }, sizes).seconds > one.seconds);
  assert.ok(estimate(speed, { ...config, r: 16 }, sizes).bytes > one.bytes);
  assert.equal(estimate(speed, config, { ...sizes, bytes: 50 }).seconds, (3 * 100 * 3) / 1280, "a row is no longer than all there is, and little text is read six times");
});

// --- a course
test("a course asks the model before and after, draws both curves and keeps what was learned", async () => {
  const { session, course, material, shelf, started } = await desk();
  const whole = course.start(configOf("personal", "quick"), material, { name: "mine" });
  const trainer = await started();
  assert.equal(trainer.data.join("").length < TEXT.length, true, "a part is held back");
  assert.deepEqual([course.now.value.phase, course.now.value.of, course.now.value.notices], ["training", 60, ["one text was split"]]);
  trainer.validate(3);
  trainer.step(2.9);
  trainer.step(2.5);
  trainer.validate(2.4);
  await trainer.pause();
  assert.equal(course.now.value.phase, "paused");
  await trainer.resume();
  trainer.finish("steps");
  await whole;
  const { phase, train, validation, bits, samples, adapter, reason } = course.now.value;
  assert.deepEqual([phase, reason, train, validation, bits], ["done", "steps", [[1, 2.9], [2, 2.5]], [[0, 3], [2, 2.4]], { before: 2, after: 1.5 }]);
  assert.deepEqual(samples.map(({ prompt, before, after }) => [before, after]), samples.map(({ prompt }) => [`${prompt}|`, `${prompt}|id-mine`]));
  assert.deepEqual([adapter.name, adapter.metrics.bits, shelf.saved.value.length, session.runs.size], ["mine", bits, 1, 0]);
  const next = await course.estimate(configOf("coder", "usual"), material);
  assert.deepEqual([next.seconds, next.tokens], [(200 * 128) / 512, trainer.data.join("\n").length], "the next one is estimated by this one's pace, without what is held back");
  assert.deepEqual(shelf.used.value, [], "it is not on before somebody turns it on");
});

test("options reach the trainer as it takes them", async () => {
  const { session, course, material, started } = await desk();
  course.start({ ...configOf("coder", "usual"), maxSteps: 7 }, material, { name: "n", prompts: ["def f("] });
  const { run } = await started();
  assert.deepEqual(run.options.lora, { r: 16, loraAlpha: 32, loraDropout: 0.05, targetModules: ["q", "k", "v", "o"] });
  assert.deepEqual([run.options.training.maxSteps, run.options.training.dots, run.options.name], [7, "int8", "n"]);
  assert.deepEqual(session.asked, ["complete def f("], "one's own prompts take the place of lines of the text");
});

test("pairs are tried through the chat's template where the model has one", async () => {
  const { session, course, material, started } = await desk();
  await material.remove("mine.txt");
  await material.add(named(new File([Array.from({ length: 4 }, (_, i) => JSON.stringify({ input: `q${i}`, output: "a" })).join("\n")], "p.jsonl")));
  course.start(configOf("personal", "quick"), material, { name: "n" });
  await started();
  assert.deepEqual(session.asked, ["ask q3"]);
});

test("stopping keeps the best there is", async () => {
  const { course, material, shelf, started } = await desk();
  const whole = course.start(configOf("personal", "usual"), material, { name: "mine" });
  (await started()).step(2);
  await course.stop();
  await whole;
  assert.deepEqual([course.now.value.phase, course.now.value.reason, shelf.saved.value.length], ["done", "cancelled", 1]);
});

test("stopping before the first step leaves nothing behind", async () => {
  const { session, course, material, shelf, started } = await desk();
  const whole = course.start(configOf("personal", "usual"), material, { name: "mine" });
  await started();
  await course.stop();
  await whole;
  assert.deepEqual([course.now.value.phase, shelf.saved.value.length, session.runs.size], ["idle", 0, 0]);
});

test("stopping while the trainer gets ready leaves nothing of a new course, and all of one that is gone on with", async () => {
  const { session, course, material, started } = await desk();
  session.slow = true; // nothing is heard of it before the test says so
  for (const step of [0, 5]) {
    const run = { id: "left", name: "n", state: "stopped", step, steps: 9, metrics: {} };
    session.runs.set("left", run);
    const whole = step ? course.goOn(run) : course.start(configOf("personal", "quick"), material, { name: "n" });
    await started();
    await course.stop();
    await whole;
    assert.deepEqual([course.now.value.phase, [...session.runs.keys()]], ["idle", ["left"]]);
  }
});

test("a stop is heard by who is about to keep what an earlier visit left, and leaves it", async () => {
  const { session, course, shelf } = await desk();
  const left = { id: "left", name: "n", state: "stopped", step: 5, steps: 9, metrics: {} };
  session.runs.set("left", left);
  const whole = course.keep(left);
  await course.stop();
  await whole;
  assert.deepEqual([course.now.value.phase, shelf.saved.value.length, [...session.runs.keys()]], ["idle", 0, ["left"]]);
});

test("a pause that was asked for before a stop is told after it and hides it from nobody", async () => {
  const { course, material, started } = await desk();
  const whole = course.start(configOf("personal", "quick"), material, { name: "n" });
  const trainer = await started();
  trainer.step(2);
  const stopped = new Promise((resolve) => { trainer.cancel = resolve; });
  course.stop();
  await stopped;
  trainer.emit({ kind: "paused" });
  assert.equal(course.now.value.phase, "stopping");
  trainer.finish("cancelled");
  await whole;
});

test("a course whose tab was closed is found and goes on with its curve, its prompts and what it was before", async () => {
  const first = await desk();
  first.course.start(configOf("personal", "quick"), first.material, { name: "mine" });
  (await first.started()).step(2.9);
  const { session, course, started } = await desk({ session: first.session, db: first.db });
  await course.look();
  const [left] = course.unfinished.value;
  const asked = session.asked.length;
  const whole = course.goOn(left);
  const trainer = await started();
  assert.equal(trainer.data, undefined, "what it learns from is kept with it");
  assert.deepEqual([course.now.value.step, course.now.value.train, session.asked.length], [1, [[1, 2.9]], asked]);
  trainer.step(2.8);
  trainer.finish("steps");
  await whole;
  const { train, samples, bits } = course.now.value;
  assert.deepEqual([train.length, bits.before, course.unfinished.value], [2, 2, []]);
  assert.ok(samples.every(({ before, after }) => before && after));
});

test("a course that failed says why, can be gone on with, or forgotten", async () => {
  const { session, course, material, started, language } = await desk();
  const whole = course.start(configOf("personal", "quick"), material, { name: "mine" });
  const trainer = await started();
  trainer.step(2);
  trainer.fail(new RangeError("the loss is no number"));
  await whole;
  assert.deepEqual([course.now.value.phase, course.unfinished.value.length], ["failed", 1]);
  language.ready = () => assert.fail("to forget takes no model");
  await course.forget(course.unfinished.value[0]);
  assert.deepEqual([course.unfinished.value, session.runs.size], [[], 0]);
});

test("of a course that diverged, and of one that was left, what was learned last can be kept", async () => {
  for (const reloaded of [false, true]) {
    const first = await desk();
    const whole = first.course.start(configOf("personal", "quick"), first.material, { name: "mine" });
    const trainer = await first.started();
    trainer.step(2);
    trainer.fail(new TrainingDiverged("the loss of step 2 is no number", { step: 2, kept: 1 }));
    await whole;
    assert.deepEqual([first.course.now.value.error.details.kept, first.course.now.value.id], [1, trainer.id]);
    const { session, course, shelf } = reloaded ? await desk(first) : first;
    session.started = () => assert.fail("it learns no more");
    await course.keep(reloaded ? (await course.look(), course.unfinished.value[0]) : course.now.value);
    const { phase, reason, train, adapter } = course.now.value;
    assert.deepEqual([phase, reason, train, adapter.name, shelf.saved.value.length, session.runs.size], ["done", "cancelled", [[1, 2]], "mine", 1, 0]);
  }
});

test("where an adapter cannot be kept, its training stays to be ended later", async () => {
  const { session, course, material, shelf, started } = await desk();
  session.full = true;
  const whole = course.start(configOf("personal", "quick"), material, { name: "mine" });
  const trainer = await started();
  trainer.step(2);
  trainer.finish("steps");
  await whole;
  assert.deepEqual([course.now.value.error.code, course.unfinished.value[0].state], ["storage", "done"]);
  session.full = false;
  await course.keep(course.unfinished.value[0]);
  assert.deepEqual([course.now.value.phase, shelf.saved.value.length, session.runs.size], ["done", 1, 0]);
});

test("what was learned once more, bit for bit, is one adapter under its latest name, and that is said", async () => {
  const { course, material, shelf, started } = await desk();
  for (const name of ["mine", "mine", "yours"]) {
    const whole = course.start(configOf("personal", "quick"), material, { name });
    const trainer = await started();
    trainer.adapter = async () => ({ id: "same", name, metrics: {} });
    trainer.step(2);
    trainer.finish("steps");
    await whole;
    assert.deepEqual(shelf.saved.value.map((one) => one.name), [name]);
  }
  assert.match(course.now.value.notices.at(-1), /same as “mine”.* called “yours”/);
});

test("a curve that went back to a checkpoint is drawn over from there", async () => {
  const { course, material, started } = await desk();
  course.start(configOf("personal", "quick"), material, { name: "mine" });
  const trainer = await started();
  [3, 2, 1].forEach((loss) => trainer.step(loss));
  trainer.run.step = 1;
  trainer.step(1.9);
  assert.deepEqual(course.now.value.train, [[1, 3], [2, 1.9]]);
});

// --- the curve
test("a curve's points lie in its field, its ticks are round, and its table has a row for each look", () => {
  const train = Array.from({ length: 200 }, (_, i) => [i + 1, 4 - i / 100]);
  const { lines, yTicks, xTicks, rows } = curve({ train, validation: [[0, 4], [100, 3], [200, 2.5]], of: 300 }, { width: 400, height: 200 });
  const numbers = lines.flatMap(({ path }) => path.match(/[\d.]+/g).map(Number));
  assert.ok(numbers.every((n) => n >= 0 && n <= 400));
  assert.ok(yTicks.length >= 3 && yTicks.every(({ value }) => Number.isInteger(Math.round(value * 1000) / 100 * 10)));
  assert.deepEqual(xTicks.at(-1).value, 300);
  assert.deepEqual(rows.map(({ step, validation }) => [step, validation]), [[0, 4], [100, 3], [200, 2.5]]);
  assert.ok(Math.abs(rows[1].train - 3.5) < 0.2, "beside a look stands what training was since the one before");
});

test("steps are counted in whole ones, however few there are", () => {
  for (const of of [0, 1, 2, 3, 7, 1000])
    assert.ok(curve({ train: [[1, 2]], validation: [], of }, { width: 400, height: 200 }).xTicks.every(({ value }) => Number.isInteger(value)), `${of}`);
});

const SPANS = [[0, "0 s"], [59.6, "1 min 0 s"], [75, "1 min 15 s"], [3600, "1 h 0 min"]];
for (const [seconds, words] of SPANS) test(`a span in words: ${seconds}`, () => assert.equal(span(seconds), words));
