/** Models of the user's own over played workers: a GGUF file, an address, a folder; what is remembered, and what is refused before it is fetched. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { createHash } from "node:crypto";
import { COMPILED, Stage } from "./played_lm.mjs";

const BYTES = new Uint8Array(3 << 20).map((_, i) => i % 251);
const fileOf = (lastModified = 1, name = "mine.gguf") => new File([BYTES], name, { lastModified });

/** The Merkle root by Node's own SHA-256: two nodes over three leaves of 1 MiB. */
const digest = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
const [a, b, c] = [0, 1, 2].map((i) => digest(Uint8Array.of(0), BYTES.subarray(i << 20, (i + 1) << 20)));
const ROOT = digest(Uint8Array.of(1), digest(Uint8Array.of(1), a, b), c).toString("hex");

test("local: a dropped GGUF is compiled by the ranges that Python wants, named by its content, and runs unsigned", async (t) => {
  const stage = new Stage(t);
  const session = await stage.loader.load({ file: fileOf() }, { context: 512 });
  assert.deepEqual(stage.compiles.map(({ files, context, ranges }) => [files, context, ranges.map(([name, at, bytes]) => [name, at, [...bytes]])]),
    [[[["mine.gguf", BYTES.length]], 512, []], [[["mine.gguf", BYTES.length]], 512, [["mine.gguf", 0, [0, 1, 2, 3]]]]]);
  const { manifest, trust, type } = session;
  assert.deepEqual([manifest.id, manifest.merkleRoot, manifest.name, trust, type], [`local-${ROOT.slice(0, 12)}`, ROOT, "Mine", "unsigned", "text-generation"]);
  const { files, program, context } = stage.workers[0].loaded;
  assert.deepEqual([files.model.size, program, context], [BYTES.length, COMPILED.program, undefined], "the Program holds the context");
  assert.equal(await session.generate("one"), "one");
});

test("local: Python is ended when it has compiled, unless it teaches", async (t) => {
  const stage = new Stage(t);
  await stage.loader.load({ file: fileOf() });
  assert.equal((await stage.loader.status()).python, false);
  await stage.loader.ask("python.boot");
  await stage.loader.load({ file: fileOf(2) });
  assert.equal((await stage.loader.status()).python, true);
});

test("local: Python is ended, too, when nobody sends what it wanted", async (t) => {
  const stage = new Stage(t, { testing: { patience: 30 } });
  const { wanted } = await stage.loader.ask("python.compile", { files: [["mine.gguf", 9]], ranges: [] });
  assert.deepEqual([wanted, (await stage.loader.status()).python], [["mine.gguf", 0, 4], true]);
  while ((await stage.loader.status()).python) await new Promise((resolve) => { setTimeout(resolve, 5); });
});

test("local: the same file needs no Python the second time; a changed one, or another context, does", async (t) => {
  const stage = new Stage(t);
  const first = await stage.loader.load({ file: fileOf() });
  const again = await stage.loader.load({ file: fileOf() });
  assert.deepEqual([again.id, stage.compiles.length], [first.id, 2]);
  await stage.loader.load({ file: fileOf(2) });
  await stage.loader.load({ file: fileOf() }, { context: 64 });
  assert.equal(stage.compiles.length, 6);
});

test("local: only the newest models are remembered", async (t) => {
  const stage = new Stage(t);
  for (let i = 1; i <= 10; i++) await stage.loader.load({ file: fileOf(i) });
  const [kept] = /** @type {any} */ (globalThis.indexedDB).databases.get("edgenet-local-v1").values();
  assert.equal(kept.size, 8);
});

test("local: a browser without storage compiles each time", async (t) => {
  const stage = new Stage(t);
  /** @type {any} */ (globalThis.indexedDB).refuse = new DOMException("private window", "SecurityError");
  await stage.loader.load({ file: fileOf() });
  await stage.loader.load({ file: fileOf() });
  assert.equal(stage.compiles.length, 4);
});

test("local: a model that starts again after its worker died is loaded from the file itself", async (t) => {
  const stage = new Stage(t);
  const session = await stage.loader.load({ file: fileOf() });
  stage.workers[0].die();
  assert.equal(await session.generate("one"), "one");
  assert.equal(stage.workers[1].loaded.files.model.size, BYTES.length);
});

/** A file server; `asked` lists method and range. */
async function serving(t, { ranges = true, status = 200, dated = false } = {}) {
  const asked = [];
  const server = createServer(({ method, headers: { range } }, answer) => {
    asked.push(range ? `${method} ${range}` : method);
    const [, from, to] = (ranges && /bytes=(\d+)-(\d+)/.exec(range ?? "")) || [];
    const body = from ? BYTES.subarray(Number(from), Number(to) + 1) : BYTES;
    answer.writeHead(from ? 206 : status, { "Content-Length": body.length, ...(dated && { "Last-Modified": "Sat, 21 Nov 2026 00:00:00 GMT" }) }).end(method === "HEAD" ? undefined : body);
  });
  await new Promise((resolve) => { server.listen(0, () => resolve(undefined)); });
  t.after(() => server.close());
  return { asked, url: `http://localhost:${/** @type {any} */ (server.address()).port}/models/far.gguf?download=true` };
}

test("local: of an address the header comes first, then the whole with its progress", async (t) => {
  const [stage, { asked, url }] = [new Stage(t), await serving(t)];
  const seen = [];
  const session = await stage.loader.load({ url }, { onProgress: ({ phase, loaded, total, name }) => phase === "download" && seen.push([name, loaded <= total, total]) });
  assert.deepEqual(asked, ["HEAD", "GET bytes=0-0", "GET bytes=0-3", "GET"]);
  assert.deepEqual([session.manifest.merkleRoot, seen.at(-1)], [ROOT, ["far.gguf", true, BYTES.length]]);
});

test("local: an address whose file has not changed needs no Python the second time", async (t) => {
  const [stage, { asked, url }] = [new Stage(t), await serving(t, { dated: true })];
  const first = await stage.loader.load({ url });
  asked.length = 0;
  assert.equal((await stage.loader.load({ url })).id, first.id);
  assert.deepEqual([asked, stage.compiles.length], [["HEAD", "GET bytes=0-0", "GET"], 2]);
});

for (const [status, from] of /** @type {[number, number][]} */ ([[200, 0], [206, 1], [206, 7]])) {
  test(`local: a server that gives other bytes than were asked for is a named error: ${status}, from ${from}`, async (t) => {
    const server = createServer(({ method, headers: { range } }, answer) => {
      const first = range === "bytes=0-0";
      const body = first ? BYTES.subarray(0, 1) : BYTES.subarray(0, from || BYTES.length);
      answer.writeHead(!range || first ? (range ? 206 : 200) : status, { "Content-Length": method === "HEAD" ? BYTES.length : body.length }).end(method === "HEAD" ? undefined : body);
    });
    await new Promise((resolve) => { server.listen(0, () => resolve(undefined)); });
    t.after(() => server.close());
    const url = `http://localhost:${/** @type {any} */ (server.address()).port}/far.gguf`;
    await assert.rejects(new Stage(t).loader.load({ url }), { code: "range_unsupported", message: /4 bytes at 0 and answered/ });
  });
}

test("local: a server that gives no parts is asked for the whole at once", async (t) => {
  const [stage, { asked, url }] = [new Stage(t), await serving(t, { ranges: false })];
  assert.equal((await stage.loader.load({ url })).trust, "unsigned");
  assert.deepEqual(asked, ["HEAD", "GET bytes=0-0", "GET"]);
});

test("local: a model too large for memory is refused before its weights are fetched, with the numbers", async (t) => {
  const [stage, { asked, url }] = [new Stage(t), await serving(t)];
  stage.tooLarge = true;
  await assert.rejects(stage.loader.load({ url }), { code: "program_too_large", message: /5000000300/ });
  assert.deepEqual(asked, ["HEAD", "GET bytes=0-0"]);
});

test("local: a model in several files is loaded whole, whatever their order, and is known by all of them", async (t) => {
  const stage = new Stage(t);
  const names = [1, 2, 3].map((i) => `mine-0000${i}-of-00003.gguf`);
  const files = names.map((name, i) => new File([BYTES.subarray(i << 20, (i + 1) << 20)], name, { lastModified: 1 }));
  const session = await stage.loader.load({ files });
  assert.deepEqual([Object.keys(stage.workers[0].loaded.files), session.manifest.merkleRoot], [["model", "model-2", "model-3"], ROOT]);
  await stage.loader.load({ files });
  assert.equal(stage.compiles.length, 4);
});

test("local: an address that answers an error says which", async (t) => {
  const [stage, { url }] = [new Stage(t), await serving(t, { status: 404 })];
  await assert.rejects(stage.loader.load({ url }), { code: "http_status" });
});

test("local: an encoder's file becomes an encoder's session", async (t) => {
  const stage = new Stage(t);
  stage.compiled = { ...COMPILED, program: { ...COMPILED.program, buffers: [{ name: "embedding" }] } };
  assert.equal((await stage.loader.load({ file: fileOf() })).type, "embedding");
});

test("local: an ONNX decoder's folder goes to its worker with all its files, by path", async (t) => {
  const stage = new Stage(t);
  const files = { "config.json": new Blob(['{"model_type": "qwen2"}']), "tokenizer.json": new Blob(["{}"]), "onnx/model_q4.onnx": new Blob(["weights"]) };
  const session = await stage.loader.load({ files }, { dtype: "q4" });
  const { loaded, url } = stage.workers[0];
  assert.deepEqual([Object.keys(loaded.files), loaded.dtype, url], [Object.keys(files), "q4", "https://site.example/workers/onnx.js"]);
  assert.deepEqual([session.manifest.name, session.trust], ["qwen2", "unsigned"]);
  const dropped = Object.entries(files).map(([path, blob]) => Object.assign(new File([blob], path.split("/").at(-1) ?? ""), { webkitRelativePath: `folder/${path}` }));
  await stage.loader.load({ files: dropped });
  assert.deepEqual(Object.keys(stage.workers[1].loaded.files), Object.keys(files));
});

/** [what, source] @type {[string, any][]} */
const REFUSED = [["nothing", {}], ["a file that is a path", { file: "mine.gguf" }], ["files of no decoder", { files: { "a.txt": new Blob([]) } }],
  ["a decoder without its config", { files: { "onnx/model.onnx": new Blob([]) } }]];
for (const [what, source] of REFUSED) test(`local: ${what} is refused by name`, async (t) => assert.rejects(new Stage(t).loader.load(source), { code: "invalid_option" }));
