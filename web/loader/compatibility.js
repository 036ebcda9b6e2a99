/**
 * Whether this browser can run a model, answered from its manifest before any byte of the weights is fetched. Runs in the loader worker.
 */
import { hasWebgpu, wasmFeatures } from "../sdk/features.js";
import { estimate, missingBytes } from "./cache.js";

/** @typedef {{name: string, ok: boolean, needed: any, found: any, message: string}} Check */

/** Feature → whether this worker has it. */
const FEATURES = {
  wasm: () => typeof WebAssembly === "object",
  simd: () => wasmFeatures().has("simd"),
  relaxedSimd: () => wasmFeatures().has("relaxed-simd"),
  isolated: () => globalThis.crossOriginIsolated === true,
  threads: () => globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === "function",
  webgpu: hasWebgpu,
  opfs: () => typeof navigator.storage?.getDirectory === "function",
  webcrypto: () => Boolean(globalThis.crypto?.subtle),
};

/** @returns {Promise<Record<keyof typeof FEATURES, boolean>>} */
export async function features() {
  const rows = Object.entries(FEATURES).map(async ([name, test]) => [name, Boolean(await test())]);
  return Object.fromEntries(await Promise.all(rows));
}

const MB = (/** @type {number} */ bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/**
 * @param {any} manifest accepted
 * @returns {Promise<{ok: boolean, checks: Check[], reasons: string[], features: object, expected: object | null}>}
 *   `expected`: what the publisher measured, as the manifest says; it was not measured here
 */
export async function checkCompatibility(manifest) {
  const [found, room, needed] = [await features(), await estimate(), await missingBytes(manifest)];
  const wants = manifest.requirements ?? {};
  const checks = [memoryCheck(wants), storageCheck(room, Math.max(needed, needed && (wants.minStorage ?? 0))), ...featureChecks(wants, found)];
  const expected = Object.keys(manifest.benchmarks ?? {}).length ? { source: "publisher", benchmarks: manifest.benchmarks } : null;
  const failed = checks.filter(({ ok }) => !ok);
  return { ok: failed.length === 0, checks, reasons: failed.map(({ message }) => message), features: found, expected };
}

function memoryCheck({ minMemory = 0 }) {
  const gib = /** @type {any} */ (globalThis.navigator)?.deviceMemory; // rounded and capped by the browser; absent in Firefox and Safari
  const found = gib ? gib * 2 ** 30 : null;
  const ok = found === null || found >= minMemory;
  const seen = found === null ? "this browser does not say how much there is" : `this device has at least ${MB(found)}`;
  return { name: "memory", ok, needed: minMemory, found, message: `The model needs ${MB(minMemory)} of memory; ${seen}.` };
}

function storageCheck({ quota, usage }, needed) {
  const found = quota === null ? null : Math.max(0, quota - (usage ?? 0));
  const seen = found === null ? "this browser does not say how much there is" : `the browser allows ${MB(found)}`;
  return { name: "storage", ok: found === null || found >= needed, needed, found, message: `${MB(needed)} must be stored; ${seen}.` };
}

/** [feature, whether this model needs it, what its absence means] @type {[string, (wants: any) => boolean, string][]} */
const FEATURE_ROWS = [
  ["wasm", () => true, "without WebAssembly no model runs"],
  ["webcrypto", () => true, "without WebCrypto (https or localhost) nothing can be verified"],
  ["simd", (wants) => wants.simdRequired === true, "without WebAssembly SIMD it cannot run here"],
  ["relaxedSimd", () => false, "without relaxed SIMD it is somewhat slower"],
  ["threads", () => false, "without cross-origin isolation it runs on one thread"],
  ["webgpu", (wants) => wants.webgpuOptional === false, "without WebGPU it runs on the processor"],
  ["opfs", () => false, "without a file store models are kept in IndexedDB, which is slower"],
];

function featureChecks(wants, found) {
  return FEATURE_ROWS.map(([name, isNeeded, without]) => {
    const needed = isNeeded(wants);
    return { name, ok: found[name] || !needed, needed, found: found[name], message: found[name] ? `${name} is there.` : `${name} is missing: ${without}.` };
  });
}
