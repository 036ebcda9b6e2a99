/** onnxruntime-web, once per worker; its threads are fixed by the first model. Workers. */

/** @type {Promise<any> | null} */ let runtime = null;
let runtimeThreads = 0;

/** @param {string} folder where its files are @param {number} threads @param {(event: any) => void} emit @returns {Promise<any>} its module */
export async function ort(folder, threads, emit) {
  if (runtime && threads !== runtimeThreads) {
    emit({ status: "fallback", code: "threads_fixed", reason: `The engine runs on ${runtimeThreads} threads since its first model; ${threads} cannot be had until it is restarted.` });
  }
  runtimeThreads = runtime ? runtimeThreads : threads;
  runtime ??= import(/* @vite-ignore */ `${folder}ort.wasm.min.mjs`).then((loaded) => {
    Object.assign(loaded.env.wasm, { wasmPaths: folder, numThreads: threads, proxy: false });
    loaded.env.logLevel = "error";
    return loaded;
  }).catch((error) => { runtime = null; throw error; });
  return runtime;
}
