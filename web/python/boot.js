/**
 * Pyodide in this worker: from the site's own files only, by the memory snapshot where there is one. Python worker.
 */
import { HttpStatusError, NetworkError, NotFound, PythonBootFailed, fromData, named } from "../sdk/errors.js";
import { fromPython } from "./bridge.js";

/** @typedef {"teach" | "compile" | "adapters" | "lora"} Host */
/**
 * @typedef {object} Python
 * @property {any} pyodide
 * @property {(host: Host, name: string, args: any, emit: (event: any) => void, more?: any[]) => Promise<{result: any, buffers: ArrayBuffer[]}>} call a kind of one of HOSTS; `more`: what else its module is given
 * @property {(host: Host, emit: (event: any) => void) => Promise<any>} need that host's module, and before it the packages it imports
 * @property {{instance: string, python: string, pyodide: string, edgenet: string, snapshot: boolean}} about `instance` is new at each boot
 */

/** Steps of the boot, for the progress. */
const STEPS = ["runtime", "edgenet", "numpy"];

/** Which module answers, and the packages it needs: compiling a language model needs no NumPy. @type {Record<Host, {module: string, packages: string[]}>} */
const HOSTS = {
  teach: { module: "edgenet.host.browser_teach", packages: ["numpy"] },
  compile: { module: "edgenet.host.browser_compile", packages: [] },
  adapters: { module: "edgenet.host.browser_adapters", packages: ["numpy"] },
  lora: { module: "edgenet.host.browser_lora", packages: ["numpy"] },
};

/** Files whose absence Pyodide itself only warns of, and then waits forever. */
const RUNTIME = ["pyodide.asm.wasm", "pyodide.asm.mjs", "python_stdlib.zip"];

/** Asks for a file and reads no more than its headers. @param {string} url */
async function reachable(url) {
  const answer = await fetch(url).catch((error) => { throw new NetworkError(`${url} could not be fetched (${error.message}).`, { url }); });
  await answer.body?.cancel();
  if (!answer.ok) throw new HttpStatusError(`${url} answered ${answer.status}.`, { url, status: answer.status });
}

/**
 * @param {import("../sdk/place.js").Urls} urls @param {(event: any) => void} emit
 * @returns {Promise<Python>}
 * @throws PythonBootFailed with what failed as `details.was`
 */
export async function boot(urls, emit) {
  try {
    said(emit, 0);
    await Promise.all(RUNTIME.map((name) => reachable(`${urls.pyodide}${name}`)));
    const { loadPyodide } = await import(/* @vite-ignore */ `${urls.pyodide}pyodide.mjs`);
    const { pyodide, snapshot } = await start(loadPyodide, urls.pyodide, emit);
    pyodide._api.on_fatal = (/** @type {any} */ error) => reportError(error); // it answers nobody any more: who asked must hear that this worker is of no use
    said(emit, 1);
    installWheel(pyodide, await wheel(urls));
    const version = pyodide.pyimport("edgenet").__version__;
    const about = { instance: crypto.randomUUID(), python: pyodide.runPython("import platform; platform.python_version()"), pyodide: pyodide.version, edgenet: version, snapshot };
    const need = hosts(pyodide);
    return { pyodide, about, need, call: async (host, name, args, say, more = []) => callHost(pyodide, await need(host, say), name, args, more) };
  } catch (error) {
    throw failed(error);
  }
}

/** @param {(event: any) => void} emit @param {number} step */
function said(emit, step) {
  emit({ status: step === STEPS.length ? "done" : "progress", phase: "python", file: STEPS[step], loaded: step, total: STEPS.length, progress: (100 * step) / STEPS.length });
}

/** @param {unknown} error */
function failed(error) {
  const was = named(error);
  return new PythonBootFailed(`Python could not be started: ${was.message} Search goes on without it; teaching and compiling a model file need it. Check the network once, then try again.`, { was: was.code });
}

/** Each host's module, imported once when first needed. @param {any} pyodide @returns {Python["need"]} */
function hosts(pyodide) {
  /** @type {Map<string, Promise<any>>} */ const known = new Map();
  const load = async (/** @type {Host} */ host, /** @type {(event: any) => void} */ emit) => {
    const { module, packages } = HOSTS[host];
    if (packages.length) {
      said(emit, 2);
      await loadPackages(pyodide, packages);
    }
    const found = pyodide.pyimport(module);
    said(emit, STEPS.length);
    return found;
  };
  return (host, emit) => {
    if (!known.has(host)) known.set(host, load(host, emit).catch((error) => { known.delete(host); throw failed(error); }));
    return /** @type {Promise<any>} */ (known.get(host));
  };
}

/** By the snapshot (under a second), else the normal way (several). @param {Function} loadPyodide @param {string} folder @param {(event: any) => void} emit @param {object} [more] options of loadPyodide */
export async function start(loadPyodide, folder, emit, more = {}) {
  const options = { ...more, indexURL: folder, packageBaseUrl: folder, env: { HOME: "/home/pyodide" } };
  try {
    const _loadSnapshot = await snapshotBytes(`${folder}snapshot.bin.gz`);
    const pyodide = await loadPyodide({ ...options, _loadSnapshot });
    pyodide.runPython("import random; random.seed()"); // the snapshot holds the build's seed
    return { pyodide, snapshot: true };
  } catch (error) {
    emit({ status: "fallback", code: "no_python_snapshot", reason: `Python starts the slow way: ${named(error).message}` });
    return { pyodide: await loadPyodide(options), snapshot: false };
  }
}

/** Of Pyodide's own packages, those that the site carries. @param {any} pyodide @param {string[]} packages */
export function loadPackages(pyodide, packages) {
  return pyodide.loadPackage(packages, { messageCallback() {}, errorCallback: (/** @type {string} */ text) => { throw new NetworkError(text); } });
}

/** Unpacks a pure wheel where imports find it, whatever the present folder. @param {any} pyodide @param {Uint8Array} bytes */
export function installWheel(pyodide, bytes) {
  pyodide.unpackArchive(bytes, "wheel", { extractDir: pyodide.runPython("import sysconfig; sysconfig.get_path('purelib')") });
  pyodide.runPython("import importlib; importlib.invalidate_caches()"); // the import system remembers folders by their time
}

/** @param {string} url @returns {Promise<Uint8Array>} */
async function snapshotBytes(url) {
  const packed = await bytesOf(url);
  const unpacked = new Response(/** @type {any} */ (packed)).body?.pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

/** @param {string} url */
async function bytesOf(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new HttpStatusError(`${url} answered ${answer.status}.`, { url, status: answer.status });
  return new Uint8Array(await answer.arrayBuffer());
}

/** Offline, the list that the service worker kept with the site's files. @param {string} url @param {Error} error what the network said */
async function kept(url, error) {
  const answer = await globalThis.caches?.match(url);
  if (!answer) throw error;
  return new Uint8Array(await answer.arrayBuffer());
}

/** The site's own wheel. Its file name holds its version; build.json lists it among the site's files. @param {import("../sdk/place.js").Urls} urls */
export async function wheel(urls) {
  const build = JSON.parse(new TextDecoder().decode(await bytesOf(urls.build).catch((error) => kept(urls.build, error))));
  const path = Object.keys({ ...build.files, ...build.lazy }).find((name) => /^wheels\/edgenet-.*\.whl$/.test(name));
  if (!path) throw new NotFound(`${urls.build} lists no edgenet wheel. Build the site again.`, { url: urls.build });
  return bytesOf(new URL(path.slice("wheels/".length), urls.wheels).href);
}

/** @param {any} pyodide @param {any} host the module @param {string} name @param {any} args @param {any[]} more */
async function callHost(pyodide, host, name, args, more) {
  const given = pyodide.toPy(args);
  const answer = await host.answer(name, given, ...more); // of a coroutine: what it returns
  given.destroy?.();
  const { result, buffers } = fromPython(answer);
  if (result.error) throw fromData(result.error); // errors cross as data and come back as the same class
  return { result: result.result, buffers };
}
