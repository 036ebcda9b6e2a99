/**
 * What this page can do, and why not more: isolation, threads, SIMD, WebGPU, network. Page, worker and Node.
 */
import { hasWebgpu, simdLevel } from "./features.js";
import { isSecure } from "./secure.js";

/**
 * How many threads the model gets: half the cores, one to four. A rule of thumb: its threads spin while they wait, so on two cores a
 * second one takes the time of the page and of every other program, and what it gains is to be seen with `bench embed`.
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
