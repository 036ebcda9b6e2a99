/** Extension kernels as the SDK gives them: one call checked by the pack's own words, packs of third parties, refusals. The same rows as in Python. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";

import { loadExtensions } from "../../web/engine/extension-pack.js";
import { makeCall, packParams, shapeSize } from "../../web/engine/kernels/calls.js";
import { KernelRunner } from "../../web/engine/watchdog.js";
import { bytes, fetchFrom, json, kernelWorker } from "./pack-folder.mjs";

const ROWS = JSON.parse(readFileSync(new URL("../vectors/kernel_calls.json", import.meta.url), "utf8"));
const numbers = (values) => (values ? Float32Array.from(values) : undefined);
const callOf = ({ a, b, output, ...rest }) => ({ a: numbers(a), b: numbers(b), output: numbers(output), ...rest });

for (const { shape, sizes, size } of ROWS.shapes) test(`the shape [${shape}] with ${JSON.stringify(sizes)} holds ${size}`, () => assert.equal(shapeSize(shape, sizes), size));
for (const { reason, entry, params, hex } of ROWS.params) {
  test(`parameters: ${reason}`, () => assert.equal(Buffer.from(packParams(ROWS.entries[entry], params).block).toString("hex"), hex));
}
for (const { reason, entry, call, code } of ROWS.refused) {
  test(`a call is refused: ${reason}`, () => assert.throws(() => makeCall(ROWS.entries[entry], callOf(call)), { code }));
}
test("an array of another type is refused by name", () => {
  assert.throws(() => makeCall(ROWS.entries.one, { a: [1, 2], params: { n: 2 } }), { code: "kernel_dtype", message: /"x" as Float32Array, found Array/ });
});

const options = (more = {}) => ({ trust: json("trust.json"), runtimeVersion: "0.5.0", now: Date.UTC(2025, 5, 15), fetch: fetchFrom(), makeRunner: () => new KernelRunner(kernelWorker), ...more });
const pack = await loadExtensions("pack:/", options());
after(() => pack.dispose());

test("a pack tells each kernel, and which of them can be run", () => {
  const rows = Object.fromEntries(pack.kernels().map((row) => [row.id, row]));
  assert.deepEqual(Object.keys(rows).filter((id) => rows[id].runnable), ["lora_apply_f32", "rmsnorm_f32", "swiglu_f32"]);
  assert.deepEqual(Object.keys(rows.swiglu_f32.params), ["rows", "hidden", "beta"]);
  assert.equal(rows.normalize.runnable, false);
  assert.match(rows.swiglu_f32.keyId, /^[0-9a-f]{16}$/);
});

test("swiglu is x * gate * sigmoid(beta * gate)", async () => {
  const { output } = await pack.run("swiglu_f32", { a: Float32Array.of(1, 2, 3), b: Float32Array.of(0, 1, -2), params: { rows: 1, hidden: 3, beta: 1.5 } });
  const want = [[1, 0], [2, 1], [3, -2]].map(([x, g]) => (x * g) / (1 + Math.exp(-1.5 * g)));
  want.forEach((v, i) => assert.ok(Math.abs(output[i] - v) < 1e-6, `${output[i]} is not ${v}`));
});

test("what a kernel leaves in scratch and adds to its output is given back", async () => {
  const norm = await pack.run("rmsnorm_f32", { a: Float32Array.of(3, 4), b: Float32Array.of(1, 1), params: { rows: 1, hidden: 2, eps: 0 } });
  assert.deepEqual([...norm.scratch], [Math.fround(Math.sqrt(12.5))]);
  const added = await pack.run("lora_apply_f32", { a: Float32Array.of(2), b: Float32Array.of(3, 5), output: Float32Array.of(100), params: { rows: 1, d_in: 1, r: 1, d_out: 1, scale: 1 } });
  assert.deepEqual([...added.output], [130]);
});

test("a kernel's own refusal carries its number", async () => {
  const call = { a: Float32Array.of(1), b: Float32Array.of(1), params: { rows: 1, hidden: 1, eps: -1 } };
  await assert.rejects(pack.run("rmsnorm_f32", call), (error) => error.code === "kernel_trap" && error.details.returned === 3);
});

for (const [id, says] of [["nobody", /is not in the pack/], ["normalize", /engine's own/]]) {
  test(`the kernel ${id} cannot be run, and the message says why`, () => assert.rejects(pack.run(id, {}), { code: "kernel_not_found", message: says }));
}

const REFUSED = [
  ["a manifest changed after signing", { fetch: fetchFrom({ "kernels.json": new TextEncoder().encode(`${JSON.stringify(json("kernels.json"))} `) }) }, "pack_signature"],
  ["a module with one bit flipped", { fetch: fetchFrom({ "ext/swiglu_f32.wasm": bytes("ext/swiglu_f32.wasm").map((byte, i) => (i === 90 ? byte ^ 1 : byte)) }) }, "pack_hash_mismatch"],
  ["a newer runtime than it allows", { runtimeVersion: "1.0.0" }, "pack_runtime_too_new"],
  ["a key that may not sign kernels", { trust: { ...json("trust.json"), keys: json("trust.json").keys.map((k) => ({ ...k, capabilities: ["revoke"] })) } }, "pack_no_trusted_key"],
  ["an allowlist that lacks it", { allowlist: { version: 1, kernels: {} } }, "pack_not_in_allowlist"],
];
for (const [reason, more, code] of REFUSED) test(`a pack's extensions are refused for ${reason}`, () => assert.rejects(loadExtensions("pack:/", options(more)), { code }));

test("neither the engine's module nor its features are asked for", async () => {
  const without = await loadExtensions("pack:/", options({ features: new Set(["simd"]), fetch: fetchFrom({ "engine.simd.wasm": null, "engine.relaxed.wasm": null }) }));
  assert.equal(without.runner.kernels.length, 3);
  without.dispose();
});
