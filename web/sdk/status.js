/**
 * What this page can do, and why not more: isolation, threads, SIMD, WebGPU, network. Page, worker and Node.
 */
import { isSecure } from "./secure.js";

/** The smallest modules that use one feature each: relaxed: `i8x16.relaxed_swizzle`, simd128: `i8x16.popcnt`. */
const PROBES = {
  relaxed: [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11],
  simd128: [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
};

/** Best first. @returns {"relaxed" | "simd128" | "scalar"} */
export function simdLevel() {
  const found = Object.entries(PROBES).find(([, bytes]) => WebAssembly.validate(new Uint8Array(bytes)));
  return /** @type {any} */ (found?.[0] ?? "scalar");
}

/**
 * How many threads the model gets. Its threads spin while they wait, so on two cores two were never faster than one when measured, and
 * a busy machine suffers most; half the cores leaves room for the page, and small encoders gain little beyond four.
 * @param {"auto" | number} wish
 */
export function pickThreads(wish, isolated = globalThis.crossOriginIsolated === true, cores = globalThis.navigator?.hardwareConcurrency ?? 1) {
  if (!isolated) return 1;
  return wish === "auto" ? Math.max(1, Math.min(4, Math.floor(cores / 2))) : wish;
}

/** @param {{options: any, framed: boolean}} hub @returns {{code: string, reason: string}[]} */
export function reasonsOf({ options, framed }) {
  const isolated = globalThis.crossOriginIsolated === true;
  const simd = simdLevel();
  const where = framed ? "this browser does not isolate frames by themselves (Document-Isolation-Policy)" : "its server or service worker does not send COOP and COEP headers";
  /** @type {[boolean, string, string][]} */
  const rows = [
    [!isolated, "not_isolated", `The page is not cross-origin isolated: ${where}. One thread is used.`],
    [!isolated && Number(options.threads) > 1, "threads_one", `${options.threads} threads were asked for, but shared memory needs an isolated page. One thread is used.`],
    [simd === "simd128", "no_relaxed_simd", "The browser has no relaxed SIMD; the plain SIMD kernels are used."],
    [simd === "scalar", "no_simd", "The browser has no WebAssembly SIMD; models cannot run, and the small kernels run in JavaScript."],
  ];
  return rows.filter(([holds]) => holds).map(([, code, reason]) => ({ code, reason }));
}

/** Asked once: each time it is refused the browser writes to the console. @type {Promise<boolean> | undefined} */
let webgpu;
const hasWebgpu = () => (webgpu ??= (async () => Boolean(await /** @type {any} */ (globalThis.navigator)?.gpu?.requestAdapter().catch(() => null)))());

/** @param {{options: any, framed: boolean, threads: number}} hub */
export async function describe(hub) {
  return {
    isolated: globalThis.crossOriginIsolated === true,
    secure: isSecure(),
    threads: hub.threads,
    simd: simdLevel(),
    offline: globalThis.navigator?.onLine === false,
    webgpu: await hasWebgpu(),
    frame: hub.framed,
    reasons: reasonsOf(hub),
  };
}
