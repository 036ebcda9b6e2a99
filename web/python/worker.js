/**
 * The Python worker: boots Pyodide and the `edgenet` wheel, and answers what needs thought: teaching, and compiling models. Module worker.
 * It stores nothing and reads no document; what it learned leaves it as messages. Code given to it runs only where tests allowed it.
 */
import { serve, transferring } from "../workers/rpc.js";
import { NoModel, NotSupported } from "../sdk/errors.js";
import { boot, installWheel } from "./boot.js";
import { fromPython } from "./bridge.js";

/** @type {any} */ let config = null;
/** @type {Promise<import("./boot.js").Python> | null} */ let python = null;

/** Python, booted once; a failed boot may be tried again. @param {any} context */
function booted({ emit }) {
  if (!config) throw new NoModel("The Python worker was not configured.", {});
  python ??= boot(config.urls, emit).catch((error) => { python = null; throw error; });
  return python;
}

/** A call into one of Python's hosts. @param {import("./boot.js").Host} host @param {string} name */
const ask = (host, name) => async (/** @type {any} */ args, /** @type {any} */ context) => {
  const { result, buffers } = await (await booted(context)).call(host, name, args, context.emit);
  return transferring(result, buffers);
};

const TEACHING = ["open", "mark", "undo", "reset", "forget", "state", "export", "import"];

serve(/** @type {any} */ (self), {
  configure(/** @type {any} */ given) { config = given; },
  /** Ready for teaching. */
  async boot(_args, context) {
    const { about, need } = await booted(context);
    await need("teach", context.emit);
    return about;
  },
  ...Object.fromEntries(TEACHING.map((name) => [`teach.${name}`, ask("teach", name)])),
  compile: ask("compile", "compile"),
  adapted: ask("adapters", "adapted"),
  bind: ask("adapters", "bind"),
  merge: ask("adapters", "merge"),
  async run({ code, files }, context) {
    if (!config?.options.testing?.runCode) throw new NotSupported("Running code is for EdgeNet's own tests: open the loader with testing.runCode.", {});
    const { pyodide, need } = await booted(context);
    await need("teach", context.emit);
    return runCode(pyodide, code, files, context.emit);
  },
});

/**
 * Code of a test; `files` (path → bytes) are written or, where the path ends in `.whl`, unpacked first. What it prints becomes events.
 * @param {any} pyodide @param {string} code @param {Record<string, Uint8Array>} files @param {(event: any) => void} emit
 */
async function runCode(pyodide, code, files = {}, emit) {
  for (const [path, bytes] of Object.entries(files)) {
    if (path.endsWith(".whl")) installWheel(pyodide, bytes);
    else {
      pyodide.FS.mkdirTree(path.slice(0, path.lastIndexOf("/")) || "/");
      pyodide.FS.writeFile(path, bytes);
    }
  }
  const batched = (/** @type {string} */ text) => emit({ text });
  pyodide.setStdout({ batched });
  pyodide.setStderr({ batched });
  return fromPython(await pyodide.runPythonAsync(code)).result;
}
