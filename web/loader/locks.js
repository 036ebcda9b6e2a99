/**
 * Web Locks under EdgeNet's names, so that tabs agree without talking. Runs anywhere; where the browser refuses locks (blocked site
 * data) each tab has its own memory store, and there is nothing to agree on.
 */

/** One writer per artifact. */
export const writeLock = (/** @type {string} */ root) => `edgenet-write:${root}`;
/** Held shared by whoever runs or pulls the model of this artifact: it is not evicted. */
export const useLock = (/** @type {string} */ root) => `edgenet-use:${root}`;
/** Held by whoever trains, or forgets, the training of this id. */
export const trainLock = (/** @type {string} */ id) => `edgenet-train:${id}`;

/**
 * Runs `work` while the lock is held. With `ifAvailable`, answers `undefined` without running it if somebody else holds the lock.
 * @template T
 * @param {string} name
 * @param {{mode?: "exclusive" | "shared", ifAvailable?: boolean, signal?: AbortSignal}} options
 * @param {() => Promise<T> | T} work
 * @returns {Promise<T | undefined>}
 */
export async function withLock(name, { signal, ...options }, work) {
  if (!(await locksWork())) return work();
  // The platform refuses `signal` together with `ifAvailable`.
  const granted = options.ifAvailable || !signal ? options : { ...options, signal };
  return navigator.locks.request(name, granted, (lock) => (lock === null ? undefined : work()));
}

/**
 * Marks artifacts as in use until the returned function is called.
 * @param {string[]} roots @returns {Promise<() => void>}
 */
export async function holdUse(roots) {
  if (!(await locksWork())) return () => {};
  let release = () => {};
  const until = new Promise((resolve) => { release = () => resolve(undefined); });
  await Promise.all(roots.map((root) => new Promise((held, refused) => {
    navigator.locks.request(useLock(root), { mode: "shared" }, () => { held(undefined); return until; }).catch(refused);
  })));
  return release;
}

let works;
/** Asked once: blocked site data makes every request fail with a SecurityError. */
function locksWork() {
  works ??= globalThis.navigator?.locks ? navigator.locks.query().then(() => true, () => false) : Promise.resolve(false);
  return works;
}
