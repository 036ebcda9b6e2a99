/**
 * The kernel worker: runs extension kernels, one module and one memory each, away from everything else. Worker only.
 * It holds nothing that is missed when the watchdog ends it.
 *
 * Kinds: `load {id, module}` · `run {id, call}` → {code, out, scratch}.
 */
import { KernelNotFound } from "../sdk/errors.js";
import { serve, transferring } from "../workers/rpc.js";
import { Extension } from "./kernels/extension.js";

/** @type {Map<string, Extension>} */
const loaded = new Map();

serve(/** @type {any} */ (self), {
  load({ id, module }) {
    loaded.set(id, new Extension(id, module));
  },
  run({ id, call }) {
    const extension = loaded.get(id);
    if (!extension) throw new KernelNotFound(`No kernel "${id}" was loaded into this worker.`, { kernel: id });
    const result = extension.call(call);
    return transferring(result, [result.out.buffer, result.scratch.buffer]);
  },
});
