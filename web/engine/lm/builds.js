/** The engine builds that this browser can run, best first, from the site's signed kernel pack. Worker. */
import { FeatureMissing } from "../../sdk/errors.js";
import { wasmFeatures } from "../../sdk/features.js";
import { VERSION } from "../../sdk/version.js";
import { checkBytes } from "../kernels/pack.js";
import { judgedManifest, reader } from "../pack-files.js";
import { siteTrust } from "../site-trust.js";

/** @typedef {{name: string, shared: boolean, open: () => Promise<import("./engine.js").Build>}} Offer a build that is not fetched yet */

/**
 * @param {{kernels: string, trust: string, revocations: string}} urls @param {{isolated?: boolean, without?: string[], fetch?: typeof fetch}} [options] `without`: builds that failed before
 * @returns {Promise<Offer[]>} at least one @throws PackError; FeatureMissing: no WebAssembly SIMD
 */
export async function engineBuilds(urls, { isolated = globalThis.crossOriginIsolated === true, without = [], fetch: get = fetch } = {}) {
  const fetched = reader(urls.kernels, { fetch: get });
  const early = new Map(["kernels.json", "kernels.json.sig"].map((path) => [path, fetched(path)])); // beside trust.json, not after it
  for (const promise of early.values()) promise.catch(() => {}); // thrown where it is asked for
  const read = (/** @type {string} */ path) => early.get(path) ?? fetched(path);
  const { manifest } = await judgedManifest(read, { ...(await siteTrust(urls)), runtimeVersion: VERSION });
  const features = new Set([...wasmFeatures(), ...(isolated ? ["threads"] : [])]);
  const offers = manifest.modules.engine.filter((build) => build.features.every((feature) => features.has(feature))).map((build) => offer(build, read));
  if (!offers.length) throw new FeatureMissing("This browser has no WebAssembly SIMD, without which language models are too slow to run. Use a newer browser.", { needed: "simd", found: [...features] });
  const fresh = offers.filter(({ name }) => !without.includes(name));
  return fresh.length ? fresh : offers; // the last one may have failed for a passing reason
}

/** @param {import("../kernels/pack.js").Build} build @param {import("../pack-files.js").Read} read @returns {Offer} */
function offer(build, read) {
  const name = build.path.replace(/^.*engine\.|\.wasm$/g, "");
  const shared = build.features.includes("threads");
  const open = async () => {
    const bytes = await read(build.path);
    await checkBytes(build, bytes);
    return { name, shared, module: await WebAssembly.compile(/** @type {any} */ (bytes)) };
  };
  return { name, shared, open };
}
