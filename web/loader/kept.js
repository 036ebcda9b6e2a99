/**
 * Trainings and adapters that this origin keeps, as Python wrote them: who only lists or loads needs no Python. Page, frame and worker.
 *
 *   library/<id>.json, library/<id>.safetensors    an adapter (pysrc/edgenet/lora/pool.py)      ready/<id>    the same as an engine takes it
 *   pinned/<id>                                    it makes room for no other
 *   runs/<id>.json, .tokens, .checkpoint           a training (host/browser_runs.py)            bases/<id>@<version>    the base of a model
 */
import { del, delMany, get, getMany, keys, set } from "idb-keyval";
import { EdgeNetError, QuotaExceeded, StorageError, StorageUnavailable, TrainingUnderWay } from "../sdk/errors.js";
import { timeText } from "../trust/fields.js";
import { durableStore, failedToOpen } from "./durable.js";
import { trainLock, withLock } from "./locks.js";

/** @typedef {ReturnType<typeof durableStore>} Store */

/** Of the database, and of the lock of who changes the library. */
export const ADAPTERS = "edgenet-adapters-v1";
/** Of a training's entries beside its record. */
const ENDS = [".tokens", ".checkpoint"];
/** Before the id of an adapter that is pinned. */
const PINNED = "pinned/";

/** @param {string} [owner] the origin around a frame: pages that use one frame's origin see nothing of each other's @returns {Store} */
export function keptStore(owner) {
  const store = durableStore(owner ? `${ADAPTERS}:${owner}` : ADAPTERS, "kept");
  return (mode, use) => store(mode, use).catch((error) => { throw named(error); });
}

/** @param {any} error the browser's */
function named(error) {
  if (error instanceof EdgeNetError) return error;
  if (error?.name === "QuotaExceededError") return new QuotaExceeded("This browser's storage for the site is full. Remove adapters or models, or discard trainings.", {});
  const Class = failedToOpen(error) ? StorageUnavailable : StorageError;
  return new Class(`This browser's storage for trainings and adapters failed (${error?.message}). Allow the site to store data, and try again.`, { was: error?.name });
}

const text = (/** @type {Uint8Array} */ bytes) => new TextDecoder().decode(bytes);

/** Every record of a folder; one that cannot be read is left out, Python tells why. @param {Store} store @param {string} folder @returns {Promise<any[]>} each with its id */
async function records(store, folder) {
  const names = (await keys(store)).map(String).filter((key) => key.startsWith(`${folder}/`) && key.endsWith(".json"));
  const found = await getMany(names, store);
  return found.flatMap((bytes, i) => {
    try {
      return [{ id: names[i].slice(folder.length + 1, -5), ...JSON.parse(text(bytes)) }];
    } catch {
      return [];
    }
  });
}

/** @param {Store} store @param {string} model its id and version @returns {Promise<import("../sdk/trainer.js").UnfinishedTraining[]>} */
export async function keptRuns(store, model) {
  const found = (await records(store, "runs")).filter((run) => run.model === model);
  return found.sort((a, b) => b.created.localeCompare(a.created)).map(({ model: _, ...run }) => run);
}

/** Forgets a training, whoever began it. @param {Store} store @param {string} id @throws {TrainingUnderWay} where it runs */
export async function forgetRun(store, id) {
  const gone = await withLock(trainLock(id), { ifAvailable: true }, async () => {
    await delMany([".json", ...ENDS].map((end) => `runs/${id}${end}`), store);
    return true;
  });
  if (!gone) throw new TrainingUnderWay("This training is under way, here or in another tab. Cancel it first; it can go on later.", { id });
}

/** Deletes what a killed tab left of trainings: without its record none can be taken up again, nor discarded. @param {Store} store */
export async function sweepRuns(store) {
  const names = (await keys(store)).map(String);
  const ids = ENDS.flatMap((end) => names.filter((name) => name.startsWith("runs/") && name.endsWith(end)).map((name) => name.slice("runs/".length, -end.length)));
  for (const id of new Set(ids.filter((one) => !names.includes(`runs/${one}.json`)))) {
    const forget = async () => { if (!(await get(`runs/${id}.json`, store))) await delMany(ENDS.map((end) => `runs/${id}${end}`), store); };
    await withLock(trainLock(id), { ifAvailable: true }, forget); // another tab may begin it at this moment
  }
}

/** @param {Store} store @param {string} base the `base_id` of the model @returns {Promise<Omit<import("../sdk/adapters.js").SavedAdapter, "otherFile">[]>} the latest first */
export async function keptAdapters(store, base) {
  const [found, names] = [(await records(store, "library")).filter(({ base_id }) => base_id === base), await keys(store)];
  return found.sort((a, b) => b.created.localeCompare(a.created) || b.turn - a.turn).map(({ id, name, rank, modules, bytes, base_id, base_sha256 = "", family, created, last_used, signed_by = null, metrics, profile = null }) =>
    ({ id, name, rank, modules, bytes, baseId: base_id, baseSha256: base_sha256, family, created, lastUsed: last_used, pinned: names.includes(PINNED + id), signedBy: signed_by, metrics, profile }));
}

/** In one write that waits for nobody, whatever changes the library meanwhile. @param {Store} store @param {string} id of an adapter @param {boolean} pinned loaded, it makes room for no other */
export const keepPinned = (store, id, pinned) => (pinned ? set(PINNED + id, new Uint8Array(), store) : del(PINNED + id, store));

/** An adapter is used now, the last of all: told in its record, alone among all tabs; one that is gone stays gone. @param {Store} store @param {string} id */
export function keepUsed(store, id) {
  return withLock(ADAPTERS, {}, async () => {
    const all = await records(store, "library");
    const { id: _, ...told } = all.find((one) => one.id === id) ?? {};
    const now = { last_used: timeText(Date.now()), turn: 1 + Math.max(...all.map(({ turn }) => turn)) };
    if ("name" in told) await set(`library/${id}.json`, new TextEncoder().encode(JSON.stringify({ ...told, ...now })), store);
  });
}

/** Whether anything is kept that `keptAdapters` could list. @param {Store} store */
export const hasAdapters = async (store) => (await keys(store)).some((key) => String(key).startsWith("library/"));

/** @param {Store} store @param {string} model @returns {Promise<string | undefined>} its `base_id`, where Python has seen it */
export async function knownBase(store, model) {
  const bytes = await get(`bases/${model}`, store);
  return bytes && text(bytes);
}

/** @param {Store} store @param {string} id of an adapter @returns {Promise<Uint8Array | undefined>} */
export const readyBytes = (store, id) => get(`ready/${id}`, store);
