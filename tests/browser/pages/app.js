/** A page as an app would be: starts the service worker, offers its update, and reads one of the site's files on demand. */
import { startServiceWorker } from "../../../web/sdk/isolation.js";

const loads = Number(sessionStorage.getItem("loads") ?? 0) + 1;
sessionStorage.setItem("loads", String(loads));
window.app = { loads, update: null, started: null, isolated: crossOriginIsolated };
window.app.ready = startServiceWorker({
  url: new URL("service-worker.js", document.baseURI),
  onUpdate: (apply) => { window.app.update = apply; },
}).then(({ isolated, reloading, notice }) => { window.app.started = { isolated, reloading, notice }; });
window.app.text = async (path, options) => (await fetch(path, options)).text();
window.app.get = async (path, headers = {}) => {
  const response = await fetch(path, { headers });
  const bytes = new Uint8Array(await response.arrayBuffer());
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const names = ["Content-Range", "Content-Length", "Cross-Origin-Embedder-Policy"];
  return {
    status: response.status,
    length: bytes.length,
    sha256: Array.from(hash, (b) => b.toString(16).padStart(2, "0")).join(""),
    headers: Object.fromEntries(names.map((name) => [name, response.headers.get(name)])),
  };
};
window.app.checkForUpdate = async () => { await (await navigator.serviceWorker.ready).update(); };
