/** PyScript, started when the page is ready for it. Page. `playground.html` has its script; `playground/main.py` hands Python over. */

/**
 * @typedef {{status: "done" | "stopped" | "failed", line?: number, text?: string, advice?: string}} Result
 * @typedef {object} Python
 * @property {(code: string, emit: (kind: any, text: string, name: string) => void) => Promise<Result>} run @property {() => void} stop
 */

/** @returns {Promise<Python>} */
export function startPython() {
  return new Promise((resolve, reject) => {
    Object.assign(globalThis, { edgenetPlayground: { ready: (/** @type {Python["run"]} */ run, /** @type {Python["stop"]} */ stop) => resolve({ run: run.copy(), stop: stop.copy() }) } });
    addEventListener("unhandledrejection", ({ reason }) => reject(reason), { once: true }); // PyScript tells nobody else that its interpreter failed
    load().catch(reject);
  });
}

async function load() {
  const { hooks } = await import(new URL("vendor/pyscript/core.js", document.baseURI).href);
  hooks.worker.onBeforeRunAsync.clear(); // made into code by `Function`, which the page's policy forbids; no script here runs in a worker of PyScript's
}
