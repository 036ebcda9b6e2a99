/**
 * Kernel packs in the browser: fetch, verify, health-check, then use; the previous pack is kept to roll back to. Runs in page, worker, Node.
 * Without a usable pack the scalar twins answer, slower, and one event says so. Twin of `pysrc/edgenet/kernels/manager.py`.
 */
import { EdgeNetError, HealthCheckFailed, InvalidPack, KernelNotFound } from "../sdk/errors.js";
import { wasmFeatures } from "../sdk/features.js";
import { checkExtensions, checkHost } from "./kernels/health.js";
import { wasmHost } from "./kernels/host.js";
import { checkAllowlist, checkBytes, chooseBuilds } from "./kernels/pack.js";
import { scalarHost } from "./kernels/twins.js";
import { judgedManifest, reader } from "./pack-files.js";

export { KernelHost, wasmHost } from "./kernels/host.js";
export { scalarHost } from "./kernels/twins.js";
export { wasmFeatures } from "../sdk/features.js";

/**
 * @typedef {object} PackOptions
 * @property {import("../trust/trust.js").Trust | object | Uint8Array | string} trust the site's trust.json, parsed or not
 * @property {string} runtimeVersion EdgeNet's version, for the pack's gate
 * @property {import("../trust/trust.js").Revocations} [revocations]
 * @property {any} [allowlist] `{version, kernels: {id: [hash…]}}`
 * @property {Set<string>} [features] what this browser has; found out if absent
 * @property {number} [now] milliseconds since 1970
 * @property {typeof fetch} [fetch]
 * @property {AbortSignal} [signal]
 * @property {() => import("./watchdog.js").KernelRunner} [makeRunner] gives each pack a place for its extension kernels; without it they are only verified
 *
 * @typedef {object} Pack
 * @property {import("./kernels/pack.js").PackManifest} manifest
 * @property {string} keyId the key that signed it
 * @property {Record<string, import("./kernels/pack.js").Build>} builds
 * @property {import("./kernels/host.js").KernelHost} host the engine's kernels in this thread
 * @property {WebAssembly.Module} module the engine module, to start it in other workers
 * @property {import("./watchdog.js").KernelRunner | null} runner runs the extension kernels
 * @property {number} checked health vectors that passed
 */

/**
 * Verify, compile and health-check a pack at `url` (its folder). Raises a PackError; nothing is swapped.
 * @param {string | URL} url @param {PackOptions} options
 * @returns {Promise<Pack>}
 */
export async function loadPack(url, options) {
  const read = reader(url, options);
  const { manifest, keyId } = await judgedManifest(read, options);
  const builds = chooseBuilds(manifest, options.features ?? wasmFeatures());
  checkAllowlist(manifest, builds, options.allowlist);
  const names = Object.keys(builds);
  const [health, ...data] = await Promise.all([manifest.health, ...names.map((name) => builds[name])].map(async (build) => {
    const bytes = await read(build.path);
    await checkBytes(build, bytes);
    return bytes;
  }));
  return start(manifest, keyId, builds, new Map(names.map((name, i) => [name, data[i]])), JSON.parse(new TextDecoder().decode(health)), options.makeRunner);
}

async function start(manifest, keyId, builds, data, health, makeRunner) {
  const module = await WebAssembly.compile(data.get("engine")).catch((error) => {
    throw new InvalidPack(`The engine module of the pack ${manifest.version} could not be compiled: ${error.message}.`);
  });
  const host = await wasmHost(module);
  const runner = makeRunner?.() ?? null;
  try {
    const checked = checkHost(host, health) + (await startExtensions(manifest, data, health, runner));
    return { manifest, keyId, builds, host, module, runner, checked };
  } catch (error) {
    runner?.dispose();
    if (!(error instanceof EdgeNetError) || error instanceof HealthCheckFailed) throw error;
    const { name, code, message } = error; // a trap, a missing kernel: as bad as a wrong number
    throw new HealthCheckFailed(`The pack ${manifest.name} ${manifest.version} failed its health check: ${message}`, { cause: { name, code } });
  }
}

async function startExtensions(manifest, data, health, runner) {
  if (!runner) return 0;
  const extensions = [...manifest.kernels.values()].filter((entry) => entry.kind === "extension");
  for (const { id, module, resource_limits: limits } of extensions) {
    await runner.load(id, data.get(module), { pages: limits.max_memory_pages, ticks: limits.max_epoch_ticks });
  }
  return checkExtensions(runner, health, new Set(extensions.map((entry) => entry.id)));
}

/** The active and the previous pack. `onEvent` receives `{status: "fallback", code, reason}`. */
export class KernelManager {
  /** @type {Pack | null} */
  active = null;
  /** @type {Pack | null} */
  previous = null;
  /** @type {import("./kernels/host.js").KernelHost | null} */
  #scalar = null;

  /** @param {PackOptions} options @param {(event: {status: string, code: string, reason: string}) => void} [onEvent] */
  constructor(options, onEvent = () => {}) {
    this.options = options;
    this.onEvent = onEvent;
  }

  /** Make the pack at `url` the active one. On any error the present one stays, one event says so, and the error is raised. @param {string | URL} url */
  async upgrade(url) {
    try {
      const fresh = await loadPack(url, this.options);
      this.forgetPrevious();
      this.previous = this.active;
      this.active = fresh;
      return fresh;
    } catch (error) {
      const stays = this.active ? `pack ${this.active.manifest.version} stays` : "scalar JavaScript is used";
      this.onEvent({ status: "fallback", code: /** @type {any} */ (error).code ?? "internal", reason: `The new kernel pack was refused, ${stays}: ${/** @type {Error} */ (error).message}` });
      throw error;
    }
  }

  /** Go back to the previous pack. Raises KernelNotFound when there is none. */
  rollback() {
    if (!this.previous) throw new KernelNotFound("There is no previous kernel pack to go back to.");
    this.active?.runner?.dispose();
    this.active = this.previous;
    this.previous = null;
    return this.active;
  }

  /** Drop the previous pack; its memory becomes free. */
  forgetPrevious() {
    this.previous?.runner?.dispose();
    this.previous = null;
  }

  /** The kernels to use now: the active pack's, else the scalar twins (said once). */
  get host() {
    if (this.active) return this.active.host;
    if (!this.#scalar) {
      this.#scalar = scalarHost();
      this.onEvent({ status: "fallback", code: "kernel_not_found", reason: "There is no usable kernel pack; scalar JavaScript answers, slower." });
    }
    return this.#scalar;
  }
}
