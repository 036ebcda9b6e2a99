/** The engine module's builds, and an instance of one in this thread. Runs in workers and in Node. */
import { InitializationFailed, InvalidPack } from "../../sdk/errors.js";

const SECTION = "edgenet.lm";

/** What the module says of its kernels and weight layouts. @param {WebAssembly.Module} module @throws {InvalidPack} */
export function tableOf(module) {
  const [section] = WebAssembly.Module.customSections(module, SECTION);
  if (!section) throw new InvalidPack(`This module has no section "${SECTION}": it cannot run language models. Get a newer kernel pack.`);
  return JSON.parse(new TextDecoder().decode(section));
}

/**
 * @param {WebAssembly.Module} module @param {WebAssembly.Memory} [shared] for a build that imports its memory
 * @returns {Promise<{exports: any, memory: WebAssembly.Memory}>} @throws {InitializationFailed}
 */
export async function instantiate(module, shared) {
  try {
    const { exports } = await WebAssembly.instantiate(module, shared ? { env: { memory: shared } } : {});
    return { exports, memory: shared ?? /** @type {any} */ (exports.memory) };
  } catch (error) {
    throw new InitializationFailed(`The engine module could not be instantiated: ${error.message}.`);
  }
}
