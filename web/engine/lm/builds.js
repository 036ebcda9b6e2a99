/** The engine builds that this browser can run, best first, from the site's signed kernel pack. Worker. */
import { FeatureMissing, HealthCheckFailed } from "../../sdk/errors.js";
import { wasmFeatures } from "../../sdk/features.js";
import { VERSION } from "../../sdk/version.js";
import { requireCompiling } from "../compiling.js";
import { checkBytes } from "../kernels/pack.js";
import { judgedManifest, reader } from "../pack-files.js";
import { siteTrust } from "../site-trust.js";
import { checkBuild } from "./health.js";

/** @typedef {{name: string, shared: boolean, open: () => Promise<import("./engine.js").Build>}} Offer a build that is not fetched yet */

/**
 * @param {{kernels: string, trust: string, revocations: string}} urls @param {{isolated?: boolean, without?: string[], fetch?: typeof fetch}} [options] `without`: builds that failed before
 * @returns {Promise<Offer[]>} at least one @throws PackError; FeatureMissing: no WebAssembly SIMD, or the site's policy forbids to compile
 */
export async function engineBuilds(urls, { isolated = globalThis.crossOriginIsolated === true, without = [], fetch: get = fetch } = {}) {
  requireCompiling();
  const fetched = reader(urls.kernels, { fetch: get });
  const early = new Map(["kernels.json", "kernels.json.sig"].map((path) => [path, fetched(path)])); // beside trust.json, not after it
  for (const promise of early.values()) promise.catch(() => {}); // thrown where it is asked for
  const read = (/** @type {string} */ path) => early.get(path) ?? fetched(path);
  const { manifest } = await judgedManifest(read, { ...(await siteTrust(urls)), runtimeVersion: VERSION });
  const features = new Set([...wasmFeatures(), ...(isolated ? ["threads"] : [])]);
  const offers = manifest.modules.engine.filter((build) => build.features.every((feature) => features.has(feature))).map((build) => offer(build, manifest.health, read));
  if (!offers.length) throw new FeatureMissing("This browser has no WebAssembly SIMD, without which language models are too slow to run. Use a newer browser.", { needed: "simd", found: [...features] });
  const fresh = offers.filter(({ name }) => !without.includes(name));
  return fresh.length ? fresh : offers; // the last one may have failed for a passing reason
}

/** @param {import("../kernels/pack.js").Build} file @param {import("../kernels/pack.js").Build} health vectors @param {import("../pack-files.js").Read} read @returns {Offer} */
function offer(file, health, read) {
  const name = file.path.replace(/^.*engine\.|\.wasm$/g, "");
  const shared = file.features.includes("threads");
  const open = async () => {
    const [bytes, vectors] = await Promise.all([file, health].map(async (wanted) => {
      const found = await read(wanted.path);
      await checkBytes(wanted, found);
      return found;
    }));
    const module = await WebAssembly.compile(/** @type {any} */ (bytes)).catch(({ message }) => {
      throw new HealthCheckFailed(`The engine build ${name} cannot be compiled here: ${message}`, { build: name });
    });
    const build = { name, shared, module };
    await checkBuild(build, JSON.parse(new TextDecoder().decode(vectors)));
    return build;
  };
  return { name, shared, open };
}
