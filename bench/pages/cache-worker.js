/**
 * Both sides of `bench cache`, in one worker: plain fetch into OPFS and plain reading of it, and EdgeNet's reader. It measures; it decides nothing.
 */
import { openArtifact } from "../../web/loader/store.js";
import { serve } from "../../web/workers/rpc.js";

const FOLDER = "bench-plain";

const plainFolder = async () => (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });

/** What a page without EdgeNet would do: fetch, write as it comes, flush. */
async function plainFile(url, name) {
  const handle = await (await (await plainFolder()).getFileHandle(name, { create: true })).createSyncAccessHandle();
  let at = 0;
  for await (const piece of (await fetch(url, { cache: "no-store" })).body) at += handle.write(piece, { at });
  handle.flush();
  handle.close();
  return at;
}

async function timed(work) {
  const start = performance.now();
  const result = await work();
  return { ms: performance.now() - start, result };
}

serve(globalThis, {
  plainDownload: ({ files }) => timed(() => Promise.all(files.map(({ url, name }) => plainFile(url, name)))),
  plainLoad: ({ name, size }) => timed(async () => {
    const handle = await (await (await plainFolder()).getFileHandle(name)).createSyncAccessHandle({ mode: "read-only" });
    const bytes = new Uint8Array(size);
    const got = handle.read(bytes, { at: 0 });
    handle.close();
    return got;
  }),
  load: ({ root }) => timed(async () => (await (await openArtifact(root)).readAll()).byteLength),
  clear: async () => { await (await navigator.storage.getDirectory()).removeEntry(FOLDER, { recursive: true }).catch(() => {}); },
});
