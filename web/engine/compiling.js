/** Whether WebAssembly may be compiled here at all. Workers. */
import { FeatureMissing } from "../sdk/errors.js";

/** The smallest module tells. @throws FeatureMissing with what the site's policy lacks */
export function requireCompiling() {
  try {
    new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
  } catch (error) {
    throw new FeatureMissing(`This site's Content-Security-Policy forbids WebAssembly. Add 'wasm-unsafe-eval' to script-src of the files under workers/. (${/** @type {Error} */ (error).message})`, {});
  }
}
