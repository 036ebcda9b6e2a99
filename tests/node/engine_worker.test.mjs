/** The engine worker over a played onnxruntime-web and a store in memory: what is loaded, and what a cancelled load leaves behind. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { memory } from "../../web/loader/memory.js";
import { modelKey, artifactKey } from "../../web/loader/store.js";
import { connect } from "../../web/workers/rpc.js";

const DIM = 4;
const WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "warm", "up"];
const added = WORDS.slice(0, 4).map((content, id) => ({ id, content, special: true, single_word: false, lstrip: false, rstrip: false, normalized: false }));
const TOKENIZER = {
  added_tokens: added,
  normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
  pre_tokenizer: { type: "BertPreTokenizer" },
  post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "[CLS]", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: "[SEP]", type_id: 0 } }],
    pair: [], special_tokens: { "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] }, "[SEP]": { id: "[SEP]", ids: [3], tokens: ["[SEP]"] } } },
  decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  model: { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 100, vocab: Object.fromEntries(WORDS.map((word, i) => [word, i])) },
};
const FILES = { "model.onnx": "model", "tokenizer.json": JSON.stringify(TOKENIZER), "tokenizer_config.json": "{}", "config.json": JSON.stringify({ hidden_size: DIM, max_position_embeddings: 128 }) };

/** What stands in for onnxruntime-web: unit vectors, and a count of the models it holds. */
const runtime = { held: 0, /** @type {() => Promise<void>} */ compiling: async () => {} };
globalThis.playedRuntime = {
  env: { wasm: {} },
  Tensor: class { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } },
  InferenceSession: { async create() {
    await runtime.compiling();
    runtime.held++;
    return { run: async ({ input_ids: { dims } }) => ({ embedding: { data: new Float32Array(dims[0] * DIM).fill(0.5) } }), release: async () => void runtime.held-- };
  } },
};
const FOLDER = "data:text/javascript,export const { env, Tensor, InferenceSession } = globalThis.playedRuntime;//";

/** Keeps a model whose manifest says of its architecture what is given. */
function keep(id, architecture) {
  const artifacts = {};
  for (const [filename, text] of Object.entries(FILES)) {
    const [bytes, root] = [new TextEncoder().encode(text), `${id}-${filename}`];
    artifacts[filename.split(".")[0]] = { filename, merkleRoot: root, size: bytes.length };
    memory.index.set(artifactKey(root), { size: bytes.length, chunkSize: 1 << 20, have: new Uint8Array([1]), complete: true, place: "memory" });
    memory.chunks.set(root, [bytes]);
  }
  memory.index.set(modelKey(id, "1"), { manifest: { id, version: "1", type: "embedding", artifacts, ...(architecture && { architecture }) } });
}

/** Locks as a browser has them, shared ones only; the names that are held. */
const held = new Set();
const locks = {
  query: async () => ({}),
  request: async (name, _options, work) => { held.add(name); try { return await work({}); } finally { held.delete(name); } },
};

Object.assign(memory, { refused: "played", owner: true });
Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
const { port1, port2 } = new MessageChannel();
globalThis.self = /** @type {any} */ (port1);
await import("../../web/engine/worker.js");
const engine = connect(/** @type {any} */ (port2), "engine worker");
await engine.call("configure", { urls: { ort: FOLDER, kernels: "https://site.example/kernels/", trust: "https://site.example/trust.json" }, options: {} });
test.after(() => engine.close());
beforeEach(() => { runtime.compiling = async () => {}; });

const LIMITS = [
  ["no architecture", null],
  ["an architecture without contextLength", { family: "bert" }],
  ["a contextLength beyond what its files allow", { contextLength: 512 }],
];
for (const [what, architecture] of LIMITS) {
  test(`engine: a model whose manifest has ${what} reads as many tokens as its files say`, async () => {
    keep("m", architecture);
    const { maxTokens, dimensions } = await engine.call("load", { session: what, id: "m", version: "1", threads: 1 });
    assert.deepEqual([maxTokens, dimensions], [128, DIM]);
    await engine.call("dispose", { session: what });
    assert.deepEqual([runtime.held, held.size], [0, 0]);
  });
}

test("engine: a load cancelled while it compiles frees the model and its locks", async () => {
  keep("m", null);
  const controller = new AbortController();
  const heard = new Promise((resolve) => port1.on("message", ({ cancel }) => cancel && resolve()));
  runtime.compiling = async () => {
    runtime.compiling = async () => {};
    controller.abort();
    await heard;
  };
  await assert.rejects(engine.call("load", { session: "s", id: "m", version: "1", threads: 1 }, { signal: controller.signal }), { name: "AbortError" });
  await engine.call("load", { session: "next", id: "m", version: "1", threads: 1 }); // its turn comes after the cancelled one's
  await assert.rejects(engine.call("memory", { session: "s" }), { code: "disposed" });
  assert.equal(runtime.held, 1);
  await engine.call("dispose", { session: "next" });
  assert.deepEqual([runtime.held, held.size], [0, 0]);
});
