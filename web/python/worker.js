/**
 * The Python worker: boots Pyodide and the `edgenet` wheel, and answers what needs thought: teaching, and compiling models. Module worker.
 * Of teaching it stores nothing; trainings and adapters it keeps in this origin's storage. Code given to it runs only where tests allowed it.
 */
import { serve, transferring } from "../workers/rpc.js";
import { NoModel, NotSupported } from "../sdk/errors.js";
import { boot, installWheel } from "./boot.js";
import { signedBy } from "../engine/site-trust.js";
import { keptStore, sweepRuns } from "../loader/kept.js";
import { fromPython } from "./bridge.js";
import { alone, pageOf, setLine } from "./page.js";

/** @type {any} */ let config = null;
/** @type {Promise<import("./boot.js").Python> | null} */ let python = null;
/** @type {import("../loader/kept.js").Store | null} */ let kept = null;

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

/** An adapter as the engine takes it; one whose signature is refused is none. @param {any} args @param {any} context */
async function bind(args, context) {
  const { result: { signed, ...answer }, buffers } = await (await booted(context)).call("adapters", "bind", args, context.emit);
  if (signed) await signedBy(config.urls, signed);
  return transferring(answer, buffers.filter((buffer) => buffer !== signed?.payload.buffer));
}

/** A call that asks the page back; `line`: the language worker it may ask. @param {string} kind */
const working = (kind) => async (/** @type {any} */ args, /** @type {any} */ context) => {
  const python = await booted(context);
  const more = pageOf(python.pyodide, args.line, (kept ??= keptStore(config.owner)), config.urls, context);
  if (kind === "train.start") await sweepRuns(kept).catch(() => {}); // storage that fails is told by who needs it
  const { result, buffers } = await alone(kind, args.json, context.signal, () => python.call("lora", kind, args, context.emit, more));
  return transferring(result, buffers);
};

const TRAINING = [...["start", "pause", "resume", "cancel", "adapter", "evaluate", "keep", "discard"].map((kind) => `train.${kind}`),
  ...["base", "import", "rename", "describe", "remove", "ready", "export", "merge", "into"].map((kind) => `library.${kind}`)];
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
  bind,
  ...Object.fromEntries(TRAINING.map((kind) => [kind, working(kind)])),
  "train.line": (/** @type {any} */ given) => setLine(given),
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
