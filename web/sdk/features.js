/** What this browser has: WebAssembly features, by validating a function that uses each, and WebGPU. Runs anywhere. */

const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const TYPE = [1, 5, 1, 0x60, 0, 1, 0x7b]; // () → v128
const FUNCTION = [3, 2, 1, 0];
const SPLAT = [0x41, 0, 0xfd, 0x0f]; // i32.const 0, i8x16.splat

/** Feature → a body that needs it and leaves one v128. */
const BODIES = {
  simd: [...SPLAT, 0xfd, 0x62], // i8x16.popcnt
  "relaxed-simd": [...SPLAT, ...SPLAT, 0xfd, 0x80, 0x02], // i8x16.relaxed_swizzle
};

/** @param {number[]} body */
const moduleOf = (body) => new Uint8Array([...HEADER, ...TYPE, ...FUNCTION, 10, body.length + 4, 1, body.length + 2, 0, ...body, 0x0b]);

/** @returns {Set<string>} */
export function wasmFeatures() {
  if (typeof WebAssembly === "undefined") return new Set();
  return new Set(Object.entries(BODIES).filter(([, body]) => WebAssembly.validate(moduleOf(body))).map(([name]) => name));
}

/** Best first. @type {["relaxed" | "simd128", string][]} */
const LEVELS = [["relaxed", "relaxed-simd"], ["simd128", "simd"]];

/** The best SIMD level. @returns {"relaxed" | "simd128" | "scalar"} */
export function simdLevel() {
  const found = wasmFeatures();
  return LEVELS.find(([, feature]) => found.has(feature))?.[0] ?? "scalar";
}

/** Asked once: each time it is refused the browser writes to the console. @type {Promise<boolean> | undefined} */
let webgpu;
export const hasWebgpu = () => (webgpu ??= (async () => Boolean(await /** @type {any} */ (globalThis.navigator)?.gpu?.requestAdapter().catch(() => null)))());
