/**
 * Where the engine worker gets its kernels: the site's signed pack, verified and health-checked once, else the scalar twins. Engine worker.
 */
import { named } from "../sdk/errors.js";
import { KernelManager, scalarHost, wasmHost } from "./kernels.js";
import { siteTrust } from "./site-trust.js";

/**
 * @param {{kernels: string, trust: string, revocations: string}} urls @param {string} runtimeVersion @param {(event: any) => void} emit
 * @returns {{host: () => Promise<import("./kernels/host.js").KernelHost>, about: () => Promise<{kernels: any}>}} `host`: a fresh one at each call
 */
export function kernelSource(urls, runtimeVersion, emit) {
  /** @type {Promise<KernelManager> | null} */ let started = null;

  async function start() {
    const manager = new KernelManager({ ...(await siteTrust(urls)), runtimeVersion }, emit);
    await manager.upgrade(urls.kernels).catch(() => {}); // it has said so by an event; the twins are used
    return manager;
  }
  /** Trust itself may be out of reach: then no pack can be judged. */
  const manager = () => (started ??= start().catch((error) => {
    emit({ status: "fallback", code: named(error).code, reason: `The kernel pack cannot be judged, scalar JavaScript is used: ${named(error).message}` });
    return new KernelManager({ trust: {}, runtimeVersion }, emit);
  }));

  return {
    async host() {
      const { active } = await manager();
      return active ? wasmHost(active.module) : scalarHost();
    },
    async about() {
      const { active } = await manager();
      return { kernels: active ? { build: active.builds.engine.path, version: active.manifest.version, keyId: active.keyId, checked: active.checked } : { build: "scalar" } };
    },
  };
}
