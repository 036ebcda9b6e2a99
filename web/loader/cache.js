/**
 * What the store holds in all, and making room in it: by last use, never a model in use. Runs in the loader worker only.
 */
import { ModelNotFound, QuotaExceeded } from "../sdk/errors.js";
import { removeArtifact } from "./artifact.js";
import { rootsOf } from "./catalog.js";
import { useLock, withLock, writeLock } from "./locks.js";
import { filesOf } from "./pull.js";
import { bytesHeld } from "./ranges.js";
import { deleteKey, isPresent, listKeys, modelKey, readArtifactRecord, readKey, updateKey } from "./store.js";

/** @typedef {import("./catalog.js").ModelRecord} ModelRecord */

const allModels = async () => /** @type {ModelRecord[]} */ ((await listKeys("model:")).map(([, record]) => record));

/** Every model with at least one byte here. @returns {Promise<object[]>} */
export async function cachedModels() {
  const rows = await Promise.all((await allModels()).map(describe));
  return rows.filter(({ held }) => held > 0).sort((a, b) => b.lastUsed - a.lastUsed);
}

async function describe({ manifest, state, lastUsed, url }) {
  const files = filesOf(manifest);
  const records = await Promise.all(files.map(({ root }) => readArtifactRecord(root)));
  const present = await Promise.all(files.map(({ root }) => isPresent(root)));
  const held = records.reduce((sum, r) => sum + (r ? bytesHeld(r.have, r.chunkSize, r.size) : 0), 0);
  const { id, version, name, type } = manifest;
  return { id, version, name, type, size: files.reduce((sum, file) => sum + file.size, 0), held, complete: present.every(Boolean), state, lastUsed, url };
}

/** Verified bytes here, each content once. */
async function heldBytes() {
  const records = await listKeys("artifact:");
  return records.reduce((sum, [, r]) => sum + bytesHeld(r.have, r.chunkSize, r.size), 0);
}

/** @param {number} limit bytes; as set by the page */
export async function usage(limit) {
  const { quota, usage: used } = await estimate();
  const persisted = await globalThis.navigator?.storage?.persisted?.().catch(() => false);
  return { models: await cachedModels(), bytes: await heldBytes(), limit, quota, usage: used, persisted: Boolean(persisted) };
}

/** What the browser says of this origin's room; null where it says nothing. @returns {Promise<{quota: number | null, usage: number | null}>} */
export async function estimate() {
  const found = await globalThis.navigator?.storage?.estimate?.().catch(() => undefined);
  return { quota: found?.quota ?? null, usage: found?.usage ?? null };
}

/** Bytes of a manifest's artifacts that are not here. @param {any} manifest */
export async function missingBytes(manifest) {
  const rows = await Promise.all(filesOf(manifest).map(async ({ root, size }) => {
    const r = await readArtifactRecord(root);
    return r ? size - bytesHeld(r.have, r.chunkSize, r.size) : size;
  }));
  return rows.reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * Evicts models, those used longest ago first, until `manifest` fits under the limit and what the browser states as quota.
 * @param {any} manifest @param {number} limit bytes @param {(gone: {id: string, version: string}) => void} onEvicted
 * @throws {QuotaExceeded} with the figures, when everything that may go is gone and it still does not fit
 */
export async function makeRoom(manifest, limit, onEvicted) {
  for (let lack = await shortage(manifest, limit); lack; lack = await shortage(manifest, limit)) {
    if (!(await evictOne(manifest, onEvicted))) throw tooBig(manifest, lack);
  }
}

/**
 * Runs `work`; when the browser refuses room (the quota it states is not always the true one) evicts a model and runs it again.
 * In the end nothing of a model that did not fit stays behind.
 * @param {any} manifest @param {number} limit @param {(gone: any) => void} onEvicted @param {() => Promise<void>} work
 */
export async function withRoom(manifest, limit, onEvicted, work) {
  await makeRoom(manifest, limit, onEvicted);
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof QuotaExceeded)) throw error;
      if (await evictOne(manifest, onEvicted)) continue;
      await removeModel(manifest);
      const [needed, { quota, usage: used }] = [await missingBytes(manifest), await estimate()];
      throw tooBig(manifest, { rule: "refused", needed, available: null, quota, usage: used, limit });
    }
  }
}

/** Removes the model used longest ago that is not in use. @returns {Promise<boolean>} false if there is none */
async function evictOne(manifest, onEvicted) {
  const wanted = modelKey(manifest.id, manifest.version);
  const [spare, models] = [new Set(rootsOf(manifest)), await allModels()];
  for (const { manifest: victim } of models.sort((a, b) => a.lastUsed - b.lastUsed)) {
    if (modelKey(victim.id, victim.version) === wanted) continue;
    if (!(await removeModel(victim, { spare, ifFree: true }).catch(heldElsewhere))) continue;
    onEvicted({ id: victim.id, version: victim.version });
    return true;
  }
  return false;
}

/** The browser removes no file that another tab has open: that model is in use. @param {any} error @returns {false} */
function heldElsewhere(error) {
  if (error.name !== "NoModificationAllowedError") throw error;
  return false;
}

/** Why a model does not fit now, or null. */
async function shortage(manifest, limit) {
  const needed = await missingBytes(manifest);
  if (!needed) return null;
  const [held, { quota, usage: used }] = [await heldBytes(), await estimate()];
  const available = quota === null ? Infinity : Math.max(0, quota - (used ?? 0));
  if (held + needed > limit) return { rule: "limit", needed, available: Math.max(0, limit - held), quota, usage: used, limit };
  return needed > available ? { rule: "quota", needed, available, quota, usage: used, limit } : null;
}

const RULES = {
  limit: ({ available }) => `only ${available} are left under this page's limit (cache.maxSize). Raise the limit or clear other models.`,
  quota: ({ available }) => `this browser has only ${available} left for this address. Clear other models or free disk space.`,
  refused: ({ usage }) => `this browser refused them (${usage} are in use for this address). Free disk space, clear other sites' data, or leave the private window.`,
};

function tooBig({ id, version }, { rule, ...numbers }) {
  return new QuotaExceeded(`${id} ${version} needs ${numbers.needed} more bytes, but ${RULES[rule](numbers)}`, { ...numbers, rule });
}

/**
 * Deletes every artifact that no other model names, then the model's record: bytes that could not be removed stay listed, and can be cleared.
 * @param {any} manifest @param {{spare?: Set<string>, ifFree?: boolean}} [options] `ifFree`: leave it if anything of it is in use
 * @returns {Promise<boolean>} whether it was removed
 */
export async function removeModel(manifest, { spare = new Set(), ifFree = false } = {}) {
  const others = (await allModels()).filter((r) => r.manifest.id !== manifest.id || r.manifest.version !== manifest.version);
  const shared = new Set([...others.flatMap((r) => rootsOf(r.manifest)), ...spare]);
  const own = rootsOf(manifest).filter((root) => !shared.has(root));
  if (ifFree && (await anyInUse(own))) return false;
  for (const root of own) await withLock(writeLock(root), {}, () => removeArtifact(root));
  await deleteKey(modelKey(manifest.id, manifest.version));
  return true;
}

async function anyInUse(roots) {
  for (const root of roots) {
    const free = await withLock(useLock(root), { ifAvailable: true }, () => true);
    if (!free) return true;
  }
  return false;
}

/** @param {string} id @param {string} [version] all versions if none is given @throws {ModelNotFound} */
export async function removeById(id, version) {
  const found = (await allModels()).filter(({ manifest }) => manifest.id === id && (!version || manifest.version === version));
  if (!found.length) throw new ModelNotFound(`There is no "${id}"${version ? ` ${version}` : ""} in the cache. getCachedModels() shows what there is.`, { id, version });
  for (const { manifest } of found) await removeModel(manifest);
  return { removed: found.length };
}

/** Removes every model and every byte that no model names. */
export async function clearAll() {
  for (const { manifest } of await allModels()) await removeModel(manifest);
  for (const [root] of await listKeys("artifact:")) await withLock(writeLock(root), {}, () => removeArtifact(root));
}

/** Marks a model as used now. @param {any} manifest @param {number} now */
export async function touch({ id, version }, now) {
  const key = modelKey(id, version);
  if (await readKey(key)) await updateKey(key, (record) => record && { ...record, lastUsed: now });
}
