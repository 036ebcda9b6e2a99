/**
 * PyScript's interpreter in the playground: the site's own Pyodide, started by its snapshot, with NumPy, the edgenet wheel, and the SDK as the
 * Python module `edgenet_js`. Page. It stands where PyScript expects a `pyodide.mjs`; nothing comes from elsewhere.
 */
import { installWheel, loadPackages, start, wheel } from "../python/boot.js";
import { TextTokenizer } from "../text/tokenizer.js";
import { resolveUrls } from "../sdk/place.js";

export { version } from "../vendor/pyodide/pyodide.mjs";

const urls = resolveUrls({ base: new URL("../", import.meta.url).href });

/** @param {object} options what PyScript wants of Pyodide */
export async function loadPyodide(options) {
  const [{ loadPyodide: load }, sdk, bytes] = await Promise.all([import(`${urls.pyodide}pyodide.mjs`), import(`${urls.base}edgenet.js`), wheel(urls)]);
  const { pyodide } = await start(load, urls.pyodide, ({ reason }) => console.info(reason), options);
  installWheel(pyodide, bytes);
  await loadPackages(pyodide, ["numpy"]);
  pyodide.registerJsModule("edgenet_js", { ...sdk, TextTokenizer });
  return pyodide;
}
