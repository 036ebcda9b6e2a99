/** The ONNX decoder over a played session, whose next token is the sum of all it has seen: a lost or doubled key gives another text. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { OnnxDecoder } from "../../web/engine/lm/onnx.js";
import { readOptions } from "../../web/engine/lm/sampling.js";

const [VOCABULARY, CONTEXT] = [17, 48];

class Tensor {
  constructor(type, data, dims) {
    Object.assign(this, { type, data, dims });
  }
}

/** Its keys are the tokens themselves. @param {number[]} fed how many tokens each run was given */
const session = (fed) => ({
  inputMetadata: [
    { name: "input_ids", type: "int64", shape: [] },
    ...["key", "value"].map((kind) => ({ name: `past_key_values.0.${kind}`, type: "float32", shape: ["batch", 1, "past", 1] })),
  ],
  async run({ input_ids: { data }, "past_key_values.0.key": { data: past } }) {
    const [tokens, all] = [[...data].map(Number), Float32Array.from([...past, ...[...data].map(Number)])];
    fed.push(tokens.length);
    const next = all.reduce((sum, token) => sum + token + 1, 0) % VOCABULARY;
    const logits = new Tensor("float32", Float32Array.from({ length: tokens.length * VOCABULARY }, (_, i) => Number(i % VOCABULARY === next)), [1, tokens.length, VOCABULARY]);
    const keys = () => new Tensor("float32", all.slice(), [1, 1, all.length, 1]);
    return { logits, "present.0.key": keys(), "present.0.value": keys() };
  },
});

function decoder(fed = []) {
  const made = new OnnxDecoder({ Tensor }, session(fed), CONTEXT);
  made.vocabulary = VOCABULARY;
  made.sampler = /** @type {any} */ ({ pick: (logits) => logits.indexOf(1) });
  return made;
}

async function answer(one, tokens, { keep = 0, ...given } = {}) {
  const drawn = [];
  const outcome = await one.generate({ tokens, options: readOptions({ maxTokens: 4, ...given }), eos: new Set(), key: "", keep, onToken: (token) => void drawn.push(token) });
  return { ...outcome, drawn };
}

const long = Array.from({ length: 60 }, (_, i) => i % VOCABULARY);

const REFUSED = [
  ["no token, as our own engine calls it", [], {}, "empty_text"],
  ["a token of another model", [3, VOCABULARY], {}, "invalid_option"],
  ["a prompt longer than the context", long, {}, "context_full"],
];
for (const [what, tokens, options, code] of REFUSED) test(`onnx: refused: ${what}`, () => assert.rejects(answer(decoder(), tokens, options), { code }));

test("onnx: a prompt that begins like the last answer is not computed again, and says the same", async () => {
  const [fed, prompt] = [[], [5, 1, 4]];
  const one = decoder(fed);
  const first = await answer(one, prompt);
  const longer = [...prompt, ...first.drawn.slice(0, 3), 2];
  fed.length = 0;
  const again = await answer(one, longer);
  assert.deepEqual(fed, [1, 1, 1, 1]);
  assert.deepEqual(again.drawn, (await answer(decoder(), longer)).drawn);
  assert.equal(again.usage.cached, 6);
});

test("onnx: a prompt that is too long loses its beginning where that is asked for, but for the tokens to keep", async () => {
  const found = await answer(decoder(), long, { contextPolicy: "shift", keep: 2 });
  assert.deepEqual(found.drawn, (await answer(decoder(), [...long.slice(0, 2), ...long.slice(-22)])).drawn);
});

test("onnx: a context that fills up goes on as if the kept tokens had been the prompt", async () => {
  const prompt = long.slice(0, CONTEXT - 1);
  const { drawn } = await answer(decoder(), prompt, { contextPolicy: "shift", keep: 1 });
  const kept = [prompt[0], ...[...prompt, ...drawn.slice(0, 2)].slice(-23)];
  assert.deepEqual(drawn.slice(2), (await answer(decoder(), kept, { maxTokens: 2 })).drawn);
});
