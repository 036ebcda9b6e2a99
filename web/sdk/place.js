/**
 * Where everything lies: absolute addresses, beside the script unless the page says otherwise. Page, worker and Node.
 */
import { InvalidOption } from "./errors.js";

/** What can be overridden one by one, and where it is below `base` otherwise. Folders end in a slash. */
const PLACES = {
  loader: "workers/loader.js", engine: "workers/engine.js", kernel: "workers/kernel.js", python: "workers/python.js",
  lm: "workers/lm.js", thread: "workers/lm-thread.js", onnx: "workers/onnx.js",
  ort: "vendor/ort/", pyodide: "vendor/pyodide/", wheels: "wheels/", kernels: "kernels/", models: "models/",
  trust: "trust.json", revocations: "revocations.json", build: "build.json", embed: "embed.html",
};

/** @typedef {Record<keyof typeof PLACES | "base", string>} Urls */

// `currentScript` is only there while a classic script runs, so it is read now; in a module it is null and `import.meta.url` is known.
const SCRIPT = /** @type {HTMLScriptElement | null} */ (globalThis.document?.currentScript)?.src || import.meta.url || globalThis.document?.baseURI || "";

/**
 * All addresses. A given folder without its slash gets one.
 * @param {Partial<Record<string, string>>} given relative ones count from `base`, `base` itself from the page
 * @param {string} script the SDK's own address
 * @returns {Urls}
 */
export function resolveUrls(given = {}, script = SCRIPT) {
  const unknown = Object.keys(given).filter((key) => key !== "base" && !Object.hasOwn(PLACES, key));
  if (unknown.length) throw new InvalidOption(`There is no address called ${unknown.join(", ")}. Known: base, ${Object.keys(PLACES).join(", ")}.`, { unknown });
  const base = folder(new URL(given.base ?? "./", given.base === undefined ? script : globalThis.document?.baseURI ?? script).href);
  const rows = Object.entries(PLACES).map(([key, path]) => {
    const url = new URL(given[key] ?? path, base).href;
    return [key, path.endsWith("/") ? folder(url) : url];
  });
  return /** @type {Urls} */ (Object.fromEntries([["base", base], ...rows]));
}

const folder = (/** @type {string} */ url) => (url.endsWith("/") ? url : `${url}/`);
