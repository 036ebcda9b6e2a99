/** The page's reader of safetensors and of the engine's adapters: the vectors of the Python reader, and files broken at random. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { readAdapter, readSafetensors } from "../../web/formats/safetensors.js";

const { good, bad } = JSON.parse(readFileSync(new URL("../vectors/safetensors.json", import.meta.url), "utf8"));
const engine = JSON.parse(readFileSync(new URL("../vectors/adapters/engine.json", import.meta.url), "utf8"));
const MUTATIONS = 6000;

const bytesOf = (text) => new Uint8Array(Buffer.from(text, "base64"));
const floatsOf = (text) => new Float32Array(bytesOf(text).slice().buffer);

/** A file as the package writes it. */
function fileOf(tensors, metadata) {
  let at = 0;
  const header = { __metadata__: metadata }, parts = [];
  for (const [name, shape] of tensors) {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1.5);
    header[name] = { dtype: "F32", shape, data_offsets: [at, (at += values.byteLength)] };
    parts.push(new Uint8Array(values.buffer));
  }
  const text = Buffer.from(JSON.stringify(header)), length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return new Uint8Array(Buffer.concat([length, text, ...parts]));
}

for (const row of good) {
  test(`safetensors: a file of the package is read as torch holds it: ${row.why}`, () => {
    const { tensors, metadata } = readSafetensors(bytesOf(row.file));
    assert.deepEqual(metadata, row.metadata);
    assert.deepEqual([...tensors.keys()].sort(), Object.keys(row.tensors).sort());
    for (const [name, [shape, text]] of Object.entries(row.tensors)) assert.deepEqual(tensors.get(name), { shape, values: floatsOf(text) });
  });
}

for (const row of bad) {
  test(`safetensors: an unsound file is refused: ${row.why}`, () => {
    assert.throws(() => readSafetensors(bytesOf(row.file)), { code: row.code });
  });
}

test("safetensors: a file cut anywhere is refused", () => {
  const whole = bytesOf(good[1].file);
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => readSafetensors(whole.subarray(0, length)), { code: "adapter_invalid" });
  }
});

test("safetensors: a broken file is read or refused by name and never anything else", () => {
  let state = 20261121, read = 0, refused = 0;
  const draw = (below) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % below;
  const kinds = [
    (data, at) => data.map((byte, i) => (i === at ? byte ^ (1 << draw(8)) : byte)),
    (data, at) => data.filter((_, i) => i < at || i >= at + 1 + draw(8)),
    (data, at) => [...data.slice(0, at), ...Buffer.from(["0", "-", "[", "{", '"', "9".repeat(20)][draw(6)]), ...data.slice(at)],
  ];
  for (let i = 0; i < MUTATIONS; i++) {
    let data = [...bytesOf(good[draw(good.length)].file)];
    for (let times = 1 + draw(2); times > 0; times--) data = kinds[[0, 0, 0, 1, 2][draw(5)]](data, draw(data.length + 1));
    try {
      readSafetensors(Uint8Array.from(data));
      read++;
    } catch (error) {
      assert.match(error.code ?? String(error), /^(adapter_invalid|not_finite)$/);
      refused++;
    }
  }
  assert.ok(read > MUTATIONS / 50 && refused > MUTATIONS / 2, `${read} read, ${refused} refused`);
});

test("adapters: what Python binds for the engine is read with its sites", () => {
  const { sites, ...about } = readAdapter(bytesOf(engine.file));
  assert.deepEqual(about, engine.about);
  assert.deepEqual([...sites.keys()], engine.sites.map(({ site }) => site));
  for (const { site, a, b, ...sizes } of engine.sites) assert.deepEqual(sites.get(site), { ...sizes, a: floatsOf(a), b: floatsOf(b) });
});

const SOUND = { format: "edgenet-adapter", id: "x", base_id: "0".repeat(64) };
const UNFIT = [
  ["not made for the engine", [["s.lora_a", [2, 3]], ["s.lora_b", [4, 2]]], { ...SOUND, format: "pt" }],
  ["no base", [["s.lora_a", [2, 3]], ["s.lora_b", [4, 2]]], { ...SOUND, base_id: "" }],
  ["one factor", [["s.lora_a", [2, 3]]], SOUND],
  ["ranks that differ", [["s.lora_a", [2, 3]], ["s.lora_b", [4, 3]]], SOUND],
  ["a factor that is no matrix", [["s.lora_a", [6]], ["s.lora_b", [4, 2]]], SOUND],
  ["a rank beyond the kernels'", [["s.lora_a", [257, 3]], ["s.lora_b", [4, 257]]], SOUND],
  ["a tensor that is no factor", [["s.weight", [2, 3]]], SOUND],
];
for (const [why, tensors, metadata] of UNFIT) {
  test(`adapters: one that the engine cannot take is refused: ${why}`, () => {
    assert.throws(() => readAdapter(fileOf(tensors, metadata)), { code: "adapter_invalid" });
  });
}

test("adapters: one without sites changes nothing and is read", () => assert.equal(readAdapter(fileOf([], SOUND)).sites.size, 0));
