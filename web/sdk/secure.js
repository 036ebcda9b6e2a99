/**
 * Whether the browser gives this page what EdgeNet needs at all, said before anything else can fail obscurely. Page and worker.
 */
import { FeatureMissing, InsecureContext } from "./errors.js";

export const isSecure = () => globalThis.isSecureContext !== false;

/** name → whether it is there. Without any of these nothing works. @type {Record<string, () => boolean>} */
const NEEDED = {
  "module workers": () => typeof Worker === "function",
  WebAssembly: () => typeof WebAssembly === "object",
  WebCrypto: () => Boolean(globalThis.crypto?.subtle),
};

/**
 * @throws InsecureContext on plain http from another machine @throws FeatureMissing in a browser that lacks something
 */
export function requireSecure(/** @type {string} */ where = globalThis.location?.origin ?? "") {
  if (!isSecure()) {
    throw new InsecureContext(`This page was opened as ${where}. Over plain http from another machine, browsers withhold service workers, `
      + "private file storage and cryptography, so EdgeNet cannot verify or keep a model. Open it by https://, or as http://localhost on the machine that serves it "
      + "(for example through `ssh -L 8000:localhost:8000`).", { origin: where });
  }
  const lacking = Object.keys(NEEDED).filter((name) => !NEEDED[name]());
  if (lacking.length) throw new FeatureMissing(`This browser lacks ${lacking.join(", ")}. Use a current Chromium, Firefox or Safari.`, { lacking });
}
