/** Where learners keep their arrays: the one default host that `init` sets, or a host given by name. Runs in page, worker and Node. */
import { InitializationFailed, PackIoError } from "../../sdk/errors.js";
import { KernelHost, wasmHost } from "../kernels/host.js";
import { scalarHost } from "../kernels/twins.js";

/** @type {KernelHost | null} */
let shared = null;

/**
 * Sets the default host from an engine module: its URL, a Response, bytes, a compiled module, an already loaded pack or host, or nothing for
 * scalar JavaScript. Trap: a module given by URL or bytes is not verified here; `loadPack` does that.
 * @param {string | URL | Response | BufferSource | WebAssembly.Module | KernelHost | {host: KernelHost}} [source]
 * @returns {Promise<KernelHost>} `memory.buffer` is where `get_input_ptr()` points into
 */
export async function init(source) {
  shared = await hostOf(source);
  return shared;
}

/** @param {any} source @returns {Promise<KernelHost>} */
async function hostOf(source) {
  if (source === undefined) return scalarHost();
  if (source instanceof KernelHost) return source;
  if (source?.host instanceof KernelHost) return source.host;
  if (source instanceof WebAssembly.Module) return wasmHost(source);
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return wasmHost(await WebAssembly.compile(/** @type {any} */ (source)));
  const response = source instanceof Response ? source : await fetch(source);
  if (!response.ok) throw new PackIoError(`The engine module cannot be read: the server answered ${response.status} for ${response.url}.`, { status: response.status });
  return wasmHost(await WebAssembly.compile(await response.arrayBuffer()));
}

/** @param {KernelHost} [given] @returns {KernelHost} */
export function theHost(given) {
  const host = given ?? shared;
  if (!host) throw new InitializationFailed("Call `await init(url)` before the first adapter, or pass `{host}`.");
  return host;
}
