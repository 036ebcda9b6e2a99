/**
 * Where the engine worker gets its kernels: the site's signed pack, verified and health-checked once, else the scalar twins. Engine worker.
 */
import { readKey } from "../loader/store.js";
import { named } from "../sdk/errors.js";
import { NO_REVOCATIONS, parseRevocations } from "../trust/trust.js";
import { KernelManager, scalarHost, wasmHost } from "./kernels.js";

/**
 * @param {{kernels: string, trust: string}} urls @param {string} runtimeVersion @param {(event: any) => void} emit
 * @returns {{host: () => Promise<import("./kernels/host.js").KernelHost>, about: () => Promise<{kernels: any}>}} `host`: a fresh one at each call
 */
export function kernelSource(urls, runtimeVersion, emit) {
  /** @type {Promise<KernelManager> | null} */ let started = null;

  async function start() {
    const stored = await readKey("revocations").catch(() => null);
    const options = { trust: await trustText(urls.trust), revocations: stored ? parseRevocations(stored) : NO_REVOCATIONS, runtimeVersion };
    const manager = new KernelManager(options, emit);
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

/** The site's trust.json; offline, the one the loader kept. @param {string} url */
async function trustText(url) {
  try {
    const answer = await fetch(url);
    if (answer.ok) return await answer.text();
  } catch { /* offline: below */ }
  return readKey("trust");
}
