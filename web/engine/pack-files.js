/** The files of a kernel pack by their address, and its manifest once its signature and version have been judged. Page, worker and Node. */
import { PackIoError } from "../sdk/errors.js";
import { NO_REVOCATIONS, parseTrust, verifyDetached } from "../trust/trust.js";
import { checkRuntime, parsePack } from "./kernels/pack.js";

/** @typedef {(path: string) => Promise<Uint8Array>} Read */

/**
 * The manifest and the key that signed it. Raises a PackError. Nothing else of the pack was fetched then.
 * @param {Read} read @param {import("./kernels.js").PackOptions} options
 */
export async function judgedManifest(read, options) {
  const raw = await read("kernels.json");
  const signature = new TextDecoder().decode(await read("kernels.json.sig"));
  const trust = isTrust(options.trust) ? options.trust : await parseTrust(options.trust);
  const keyId = await verifyDetached(raw, signature, trust, options.revocations ?? NO_REVOCATIONS, options.now);
  const manifest = parsePack(raw);
  checkRuntime(manifest, options.runtimeVersion);
  return { manifest, keyId };
}

/** @param {any} trust @returns {trust is import("../trust/trust.js").Trust} */
const isTrust = (trust) => trust?.keys instanceof Map;

/** Raises PackIoError. @param {string | URL} url the pack's folder @param {{fetch?: typeof fetch, signal?: AbortSignal}} options @returns {Read} */
export function reader(url, { fetch: get = fetch, signal }) {
  const base = String(url).endsWith("/") ? String(url) : `${url}/`;
  return async (path) => {
    try {
      const response = await get(base + path, { signal });
      if (response.ok) return new Uint8Array(await response.arrayBuffer());
      throw new PackIoError(`${path} of the kernel pack cannot be read: the server answered ${response.status}. Fetch the pack again.`, { path, status: response.status });
    } catch (error) {
      if (error instanceof PackIoError || signal?.aborted) throw error;
      throw new PackIoError(`${path} of the kernel pack cannot be read (${/** @type {Error} */ (error).message}). Check the address.`, { path });
    }
  };
}
