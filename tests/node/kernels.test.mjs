/** Kernels, packs, extension kernels and learners in V8: the same bytes and the same answers as in Python. */
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { after, test } from "node:test";

import { KernelManager, loadPack, scalarHost, wasmFeatures, wasmHost } from "../../web/engine/kernels.js";
import { check, layout, pack } from "../../web/engine/kernels/descriptor.js";
import { Extension, limitMemory } from "../../web/engine/kernels/extension.js";
import { checkVector, close } from "../../web/engine/kernels/health.js";
import { compareVersions } from "../../web/trust/versions.js";
import { LAYOUTS } from "../../web/engine/kernels/twins.js";
import { KernelRunner } from "../../web/engine/watchdog.js";
import { bytes, fetchFrom, json, kernelWorker } from "./pack-folder.mjs";

const NOW = Date.UTC(2025, 5, 15);
const options = (more = {}) => ({ trust: json("trust.json"), runtimeVersion: "0.5.0", now: NOW, fetch: fetchFrom(), ...more });
const load = (more) => loadPack("pack:/", options(more));
const hosts = {
  simd: await wasmHost(await WebAssembly.compile(bytes("engine.simd.wasm"))),
  relaxed: await wasmHost(await WebAssembly.compile(bytes("engine.relaxed.wasm"))),
  scalar: scalarHost(),
};

for (const [name, host] of Object.entries(hosts)) {
  for (const vector of json("vectors.json").vectors) {
    test(`${name}, ${vector.kernel}: ${vector.reason}`, () => checkVector(host, vector));
  }
  test(`${name}: calls give back all the memory they take`, () => {
    const before = host.used;
    host.call("normalize", { x: new Float32Array(6).fill(1), rows: 2, d: 3 });
    assert.throws(() => host.call("normalize", { x: new Float32Array(5), rows: 2, d: 3 }), { code: "kernel_shape" });
    assert.equal(host.used, before);
  });
}

test("the twins' table of arguments is the engine's", () => assert.deepEqual(LAYOUTS, hosts.simd.layouts));

test("this V8 has both SIMD levels", () => assert.deepEqual(wasmFeatures(), new Set(["simd", "relaxed-simd"])));

test("comparison finds what is wrong", () => {
  const want = Float32Array.of(1, NaN, Infinity);
  assert.ok(close(Float32Array.of(1 + 1e-7, NaN, Infinity), want, 1e-6));
  for (const got of [[1.1, NaN, Infinity], [1, 0, Infinity], [1, NaN, -Infinity], [1, NaN]]) assert.ok(!close(Float32Array.from(got), want, 1e-6));
  assert.ok(!close(Uint32Array.of(2), Uint32Array.of(3), 1));
});

// --- packs ----------------------------------------------------------------------------------------------------------
const text = (value) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
const secret = await webcrypto.subtle.importKey(
  "pkcs8", Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.from(Array.from({ length: 32 }, (_, i) => i))]), { name: "Ed25519" }, false, ["sign"],
);
const sign = async (data) => text(Buffer.from(await webcrypto.subtle.sign("Ed25519", secret, data)).toString("base64"));
const hash = async (data) => `sha256:${Buffer.from(await webcrypto.subtle.digest("SHA-256", data)).toString("hex")}`;

/** The pack's manifest changed and signed again, as files for `fetchFrom`. */
async function edited(change, more = {}) {
  const document = json("kernels.json");
  await change(document);
  const raw = text(document);
  return { "kernels.json": raw, "kernels.json.sig": await sign(raw), ...more };
}
const flip = (data) => data.map((byte, i) => (i === 100 ? byte ^ 1 : byte));

test("a good pack is verified, health-checked and runs, extensions in a worker", async (t) => {
  const made = await load({ makeRunner: () => new KernelRunner(kernelWorker) });
  t.after(() => made.runner.dispose());
  assert.ok(made.checked > 60);
  assert.equal(made.builds.engine.path, "engine.relaxed.wasm");
  assert.deepEqual([...made.host.run("normalize", { x: [3, 4], rows: 1, d: 2 }).y], [Math.fround(0.6), Math.fround(0.8)]);
  assert.deepEqual(made.runner.kernels, ["lora_apply_f32", "rmsnorm_f32", "swiglu_f32"]);
});

test("without relaxed SIMD the plain build is chosen", async () => assert.equal((await load({ features: new Set(["simd"]) })).builds.engine.path, "engine.simd.wasm"));

const REFUSED = [
  ["a manifest changed after signing", async () => ({ "kernels.json": text(json("kernels.json")) }), "pack_signature"],
  ["a signature that is not base64", async () => ({ "kernels.json.sig": text("?") }), "pack_key"],
  ["no signature", async () => ({ "kernels.json.sig": null }), "pack_io"],
  ["a module with one bit flipped", async () => ({ "engine.relaxed.wasm": flip(bytes("engine.relaxed.wasm")) }), "pack_hash_mismatch"],
  ["health vectors changed", async () => ({ "health.json": text("{}") }), "pack_hash_mismatch"],
  ["a module that is missing", async () => ({ "ext/rmsnorm_f32.wasm": null }), "pack_io"],
  ["no kernels", () => edited((d) => { d.kernels = []; }), "pack_invalid"],
  ["a path that leaves the pack", () => edited((d) => { d.modules.engine[0].path = "../x.wasm"; }), "pack_invalid"],
  ["a kernel whose hash is no build's", () => edited((d) => { d.kernels[0].hash = `sha256:${"0".repeat(64)}`; }), "pack_invalid"],
  ["an id listed twice", () => edited((d) => { d.kernels.push(d.kernels[0]); }), "pack_invalid"],
  ["an unknown dtype", () => edited((d) => { d.kernels[0].inputs[0].dtype = "f99"; }), "pack_invalid"],
  ["modules that are no lists", () => edited((d) => { d.modules = { engine: 3 }; }), "pack_invalid"],
  ["signed, but not JSON", async () => ({ "kernels.json": text("x"), "kernels.json.sig": await sign(text("x")) }), "pack_invalid"],
  ["a runtime that is too old", () => edited((d) => { d.min_runtime_version = "0.5.1"; }), "pack_runtime_too_old"],
  ["a runtime that is too new", () => edited((d) => { d.max_runtime_version = "0.4.9"; }), "pack_runtime_too_new"],
  ["a feature nobody has", () => edited((d) => d.modules.engine.forEach((b) => { b.features = ["fp16"]; })), "pack_missing_feature"],
  ["answers that differ from the references", async () => {
    const health = json("health.json");
    health.vectors.find((v) => v.kernel === "normalize" && v.reason === "2 x 3").outputs.y = Buffer.from(new Float32Array(6).buffer).toString("base64");
    const data = text(health);
    return edited(async (d) => { d.health = { path: "health.json", hash: await hash(data), size: data.length }; }, { "health.json": data });
  }, "pack_health_check"],
];
for (const [reason, change, code] of REFUSED) {
  test(`a pack is refused for ${reason}`, async () => assert.rejects(load({ fetch: fetchFrom(await change()) }), { code }));
}

const POLICIES = [
  ["no key that may sign kernels", () => ({ trust: { ...json("trust.json"), keys: json("trust.json").keys.map((k) => ({ ...k, capabilities: ["revoke"] })) } }), "pack_no_trusted_key"],
  ["an expired key", () => ({ now: Date.UTC(2150, 1) }), "pack_no_trusted_key"],
  ["an allowlist that lacks it", () => ({ allowlist: { version: 1, kernels: {} } }), "pack_not_in_allowlist"],
  ["a runtime whose version is no version", () => ({ runtimeVersion: "new" }), "pack_version"],
];
for (const [reason, change, code] of POLICIES) test(`a pack is refused under ${reason}`, () => assert.rejects(load(change()), { code }));

test("a pack whose extension traps fails its health check", async () => {
  const bad = bytes("bad/unreachable.wasm");
  const changed = await edited(async (d) => {
    const kernel = d.kernels.find((k) => k.id === "rmsnorm_f32");
    kernel.hash = d.modules.rmsnorm_f32[0].hash = await hash(bad);
    d.modules.rmsnorm_f32[0].size = bad.length;
  }, { "ext/rmsnorm_f32.wasm": bad });
  await assert.rejects(load({ fetch: fetchFrom(changed), makeRunner: () => new KernelRunner(kernelWorker) }), { code: "pack_health_check" });
});

test("version bounds are inclusive", async () => { for (const runtimeVersion of ["0.1.0", "0.9.9"]) await load({ runtimeVersion }); });

test("versions sort by SemVer's precedence", () => {
  const order = ["0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.10.0"];
  assert.deepEqual([...order].reverse().sort(compareVersions), order);
});

test("a failed upgrade keeps the active pack, rollback returns to the one before, scalar code is the last resort", async () => {
  const events = [];
  const manager = new KernelManager(options(), (event) => events.push(event.code));
  assert.equal(manager.host.name, "scalar");
  assert.equal(manager.host.name, "scalar");
  const first = await manager.upgrade("pack:/");
  manager.options = options({ fetch: fetchFrom(await edited((d) => { d.min_runtime_version = "0.6.0"; })) });
  await assert.rejects(manager.upgrade("pack:/"), { code: "pack_runtime_too_old" });
  assert.equal(manager.active, first);
  manager.options = options({ fetch: fetchFrom(await edited((d) => { d.version = "2.0.0"; })) });
  await manager.upgrade("pack:/");
  assert.equal(manager.active.manifest.version, "2.0.0");
  assert.equal(manager.rollback(), first);
  assert.throws(() => manager.rollback(), { code: "kernel_not_found" });
  assert.deepEqual(events, ["kernel_not_found", "pack_runtime_too_old"]);
});

// --- extension kernels ----------------------------------------------------------------------------------------------
const CALL = { params: new Uint8Array(), a: new Float32Array(4), b: new Float32Array(0), out: new Float32Array(4), scratch: 0 };
const rmsnorm = () => {
  const params = new DataView(new ArrayBuffer(12));
  params.setUint32(4, 2, true);
  params.setUint32(8, 1, true);
  return { params: new Uint8Array(params.buffer), a: Float32Array.of(3, 4), b: Float32Array.of(1, 2), out: new Float32Array(2), scratch: 4 };
};
const runner = new KernelRunner(kernelWorker);
after(() => runner.dispose());

const TRAPS = [
  ["runaway", "kernel_deadline"], ["unreachable", "kernel_unreachable"], ["out_of_bounds", "kernel_memory_access"],
  ["divide", "kernel_integer_overflow"], ["recursion", "kernel_stack_overflow"], ["bad_call", "kernel_indirect_call"],
];
for (const [name, code] of TRAPS) {
  test(`a ${name} kernel ends its worker under its name, and the next call works`, async () => {
    const events = [];
    runner.onEvent = (event) => events.push([event.kernel, event.code]);
    const restarts = runner.restarts;
    await runner.load(name, bytes(`bad/${name}.wasm`), { ticks: 30 });
    await runner.load("rmsnorm_f32", bytes("ext/rmsnorm_f32.wasm"));
    const [bad, good] = await Promise.allSettled([runner.run(name, CALL), runner.run("rmsnorm_f32", rmsnorm())]);
    assert.equal(bad.reason.code, code);
    assert.deepEqual(events, [[name, code]]);
    assert.equal(runner.restarts, restarts + 1);
    assert.deepEqual([...new Float32Array(good.value.out.buffer)], [Math.fround(3 / Math.sqrt(12.5)), Math.fround(8 / Math.sqrt(12.5))]);
  });
}

test("a call that is aborted ends the worker with the signal's reason", async () => {
  await runner.load("runaway", bytes("bad/runaway.wasm"));
  const controller = new AbortController();
  const call = runner.run("runaway", CALL, { signal: controller.signal });
  setImmediate(() => controller.abort());
  await assert.rejects(call, { name: "AbortError" });
});

test("an extension's memory cannot outgrow its limit", () => {
  const small = new Extension("rmsnorm_f32", new WebAssembly.Module(limitMemory(bytes("ext/rmsnorm_f32.wasm"), 4)));
  assert.throws(() => small.call({ ...CALL, a: new Float32Array(1e5) }), { code: "kernel_allocation" });
});

test("a module that imports, or is cut short, is no extension", () => {
  const importing = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 2, 1, 0);
  assert.throws(() => limitMemory(importing, 4), { code: "pack_invalid" });
  assert.throws(() => limitMemory(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 0xff), 4), { code: "pack_invalid" });
  assert.throws(() => limitMemory(bytes("ext/rmsnorm_f32.wasm"), 0), { code: "pack_invalid" });
});

test("an unknown kernel is named", () => assert.rejects(runner.run("none", CALL), { code: "kernel_not_found" }));

const GOOD = layout({ params: 12, a: 100, b: 20, out: 100, scratch: 8 }, 1000);
test("the descriptor is ten little-endian words", () => {
  const region = (offset, size) => ({ offset, size });
  const made = pack({ a: region(64, 4), b: region(80, 8), out: region(96, 12), scratch: region(112, 16), params: region(128, 20) });
  assert.deepEqual([...new Uint32Array(made.buffer)], [64, 4, 80, 8, 96, 12, 112, 16, 128, 20]);
  check(GOOD, 65536);
});
const WRONG = [
  ["outside memory", { a: { offset: 65520, size: 32 } }, "kernel_memory_access"],
  ["beyond 32 bits", { a: { offset: 0xfffffff0, size: 32 } }, "kernel_memory_access"],
  ["inside the reserved 64 bytes", { params: { offset: 48, size: 12 } }, "kernel_memory_access"],
  ["not aligned", { b: { offset: 4104, size: 20 } }, "kernel_parameters"],
  ...["a", "b", "params", "scratch"].map((name) => [`output over ${name}`, { out: { offset: GOOD[name].offset, size: 16 } }, "kernel_parameters"]),
];
for (const [reason, change, code] of WRONG) test(`a descriptor is refused: ${reason}`, () => assert.throws(() => check({ ...GOOD, ...change }, 65536), { code }));
