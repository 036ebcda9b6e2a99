/**
 * Starts the service worker and, on a host that sends no isolation headers, reloads the page once so that they apply. Runs in the page.
 * Nothing depends on it: without a service worker the page works on one thread and needs the network to start.
 */

const RELOADED = "edgenet-isolation-reload"; // in sessionStorage: guards against a loop where isolation cannot be had

/**
 * @typedef {object} Started
 * @property {boolean} isolated
 * @property {boolean} reloading the page is about to reload; do nothing more
 * @property {ServiceWorkerRegistration | null} registration
 * @property {{code: string, reason: string} | null} notice why something is missing
 */

/**
 * @param {object} options
 * @param {string | URL} options.url the service worker's script, at the site's root
 * @param {(apply: () => void) => void} [options.onUpdate] a new version is ready; `apply` makes it take over and reloads this page
 * @param {() => void} [options.reload] @param {Storage | null} [options.storage]
 * @returns {Promise<Started>}
 */
export async function startServiceWorker({ url, onUpdate, reload = () => location.reload(), storage = safeSessionStorage() }) {
  const isolated = globalThis.crossOriginIsolated === true;
  if (!navigator.serviceWorker) {
    return { isolated, reloading: false, registration: null, notice: { code: "no_service_worker", reason: "This browser or address allows no service worker: the page needs the network to start." } };
  }
  let registration;
  try {
    registration = await navigator.serviceWorker.register(url, { updateViaCache: "none" });
  } catch (error) {
    return { isolated, reloading: false, registration: null, notice: { code: "service_worker_refused", reason: `The service worker could not be started (${error.message}).` } };
  }
  if (onUpdate) watchUpdates(registration, onUpdate, reload);
  if (isolated) {
    storage?.removeItem(RELOADED);
    return { isolated, reloading: false, registration, notice: null };
  }
  return reloadOnce(registration, reload, storage);
}

/** Once the service worker controls this page, the next load gets its headers. */
async function reloadOnce(registration, reload, storage) {
  const notice = { code: "not_isolated", reason: "This page is not cross-origin isolated, so models run on one thread." };
  if (!storage || storage.getItem(RELOADED)) return { isolated: false, reloading: false, registration, notice };
  if (!(await controlled(registration))) return { isolated: false, reloading: false, registration, notice };
  storage.setItem(RELOADED, "1");
  reload();
  return { isolated: false, reloading: true, registration, notice };
}

/** True once this page is controlled; false if the installation failed. @param {ServiceWorkerRegistration} registration @returns {Promise<boolean>} */
export function controlled(registration) {
  const { serviceWorker } = navigator;
  if (serviceWorker.controller) return Promise.resolve(true);
  return new Promise((resolve) => {
    serviceWorker.addEventListener("controllerchange", () => resolve(true), { once: true });
    const worker = registration.installing ?? registration.waiting;
    worker?.addEventListener("statechange", () => { if (worker.state === "redundant") resolve(false); });
    if (!worker && !registration.active) resolve(false);
  });
}

function watchUpdates(registration, onUpdate, reload) {
  const { serviceWorker } = navigator;
  const offer = (worker) => onUpdate(() => {
    serviceWorker.addEventListener("controllerchange", () => reload(), { once: true });
    worker.postMessage({ kind: "skipWaiting" });
  });
  if (registration.waiting && serviceWorker.controller) offer(registration.waiting);
  registration.addEventListener("updatefound", () => {
    const worker = registration.installing;
    worker?.addEventListener("statechange", () => { if (worker.state === "installed" && serviceWorker.controller) offer(worker); });
  });
}

function safeSessionStorage() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return null; // blocked site data
  }
}
