/** Reads a file of the store as plainly as the platform allows: one read through a sync access handle into one buffer. */
import { serve } from "../../../web/workers/rpc.js";

serve(globalThis, {
  async read({ root, size }) {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("edgenet-v1");
    const handle = await (await folder.getFileHandle(root)).createSyncAccessHandle({ mode: "read-only" });
    const got = handle.read(new Uint8Array(size), { at: 0 });
    handle.close();
    if (got !== size) throw new Error(`${got} of ${size} bytes`);
  },
});
