/**
 * Which models there are, which manifests were accepted, and whether they still are. Runs in the loader worker and the service worker.
 * Trust, revocations, index and manifests come from the site while there is a network and from IndexedDB when there is none.
 */
import { HttpStatusError, ModelNotFound, NetworkError, Offline } from "../sdk/errors.js";
import { NO_REVOCATIONS, acceptRevocations, judgeCached, parseRevocations, parseTrust, verifyManifest } from "../trust/trust.js";
import { compareVersions } from "../trust/versions.js";
import { documentKey, isPresent, listKeys, modelKey, readKey, updateKey, writeKey } from "./store.js";

/**
 * @typedef {{models: string, trust: string, revocations: string}} Urls absolute; `models` is a folder
 * @typedef {{manifest: any, url: string, state: "signed" | "unsigned", acceptedAt: number, lastUsed: number}} ModelRecord
 * @typedef {{record: ModelRecord, notices: {code: string, message: string}[]}} Accepted
 */

/** @param {any} manifest @returns {string[]} Merkle roots of its artifacts, each once */
export const rootsOf = (manifest) => [...new Set(Object.values(manifest.artifacts).map((artifact) => artifact.merkleRoot))];

/** @param {any} manifest */
export const isComplete = async (manifest) => (await Promise.all(rootsOf(manifest).map(isPresent))).every(Boolean);

/** How long a document just fetched is fresh: a page asks compatibility, then the manifest, then pulls. */
const FRESH = 30_000;
/** How long trust and revocations hold until the site is asked again, ms: a tab may stay open for days. */
const JUDGED = 600_000;

/** @param {{urls: Urls, wire: import("./http.js").Wire, timeout: number, network?: EventTarget}} setting `network` tells "online" */
export function makeCatalog({ urls, wire, timeout, network = /** @type {any} */ (globalThis) }) {
  /** Trust and revocations as asked for last. @type {{at: number, answer: Promise<any>} | undefined} */
  let judges;
  network.addEventListener?.("online", () => { judges = undefined; });
  /** URL → {at, value}. @type {Map<string, {at: number, value: any}>} */
  const recent = new Map();

  /** The answer of `make`, or the one it gave a moment ago. Failures are not kept. */
  async function once(url, make) {
    const found = recent.get(url);
    if (found && wire.now() - found.at < FRESH) return found.value;
    const value = await make();
    recent.set(url, { at: wire.now(), value });
    return value;
  }

  async function fetchText(url, signal) {
    if (globalThis.navigator?.onLine === false) throw new Offline(`${url} is not in the local store, and this machine is offline. Connect once to fetch it.`, { url });
    const limit = AbortSignal.timeout(timeout);
    let response;
    try {
      response = await wire.fetch(url, { cache: "no-store", credentials: "omit", signal: signal ? AbortSignal.any([signal, limit]) : limit });
      if (response.ok) return await response.text();
    } catch (error) {
      signal?.throwIfAborted();
      throw new NetworkError(`${url} could not be fetched (${error.message}). Check the connection.`, { url });
    }
    throw new HttpStatusError(`${url} answered ${response.status}.`, { url, status: response.status });
  }

  /** A small document: from the network and then kept under `key`, else the one kept. Null if there is neither and the site has none. */
  async function kept(key, url, signal) {
    try {
      const text = await fetchText(url, signal);
      await writeKey(key, text);
      return text;
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
      const text = await readKey(key);
      if (text !== undefined) return text;
      if (error instanceof HttpStatusError && error.details.status === 404) return null;
      throw error;
    }
  }

  async function loadJudges() {
    const text = await kept(documentKey("trust", urls.trust), urls.trust);
    if (text === null) throw new NetworkError(`This site has no ${urls.trust}: nothing it offers can be trusted. Build the site again.`, { url: urls.trust });
    const trust = await parseTrust(text);
    const { revocations, notices } = await loadRevocations(trust);
    return { trust, revocations, notices };
  }

  /** A list that is older, unsigned or malformed never replaces the accepted one, and that is said. */
  async function loadRevocations(trust) {
    const key = documentKey("revocations", urls.revocations);
    const stored = await readKey(key);
    const previous = stored ? parseRevocations(stored) : NO_REVOCATIONS;
    try {
      const revocations = await acceptRevocations(await fetchText(urls.revocations), trust, previous, wire.now());
      if (revocations !== previous) await writeKey(key, JSON.stringify(revocations.document));
      return { revocations, notices: [] };
    } catch (error) {
      const absent = error instanceof NetworkError;
      return { revocations: previous, notices: absent ? [] : [{ code: error.code, message: error.message }] };
    }
  }
  /** A failure is not kept: the next call tries again. */
  function getJudges() {
    if (judges && wire.now() - judges.at < JUDGED) return judges.answer;
    const asked = { at: wire.now(), answer: loadJudges() };
    judges = asked;
    asked.answer.catch(() => { if (judges === asked) judges = undefined; });
    return asked.answer;
  }

  /** In the site's order, of each model the newest version first. @param {{type?: string, quantization?: string}} [filter] @param {AbortSignal} [signal] */
  async function models({ type, quantization } = {}, signal) {
    const url = new URL("index.json", urls.models).href;
    const text = await once(url, () => kept(documentKey("index", url), url, signal));
    const rows = text === null ? [] : JSON.parse(text).models;
    const newestFirst = [...new Set(rows.map(({ id }) => id))].flatMap((id) => rows.filter((row) => row.id === id).sort((a, b) => compareVersions(b.version, a.version)));
    return newestFirst.filter((row) => (!type || row.type === type) && (!quantization || row.quantization === quantization));
  }

  /** The row of a model; its newest version if none is asked for. */
  async function find(id, version, signal) {
    return (await models({}, signal)).find((row) => row.id === id && (!version || row.version === version));
  }

  async function fetchManifest(url, signal) {
    const { trust, revocations, notices } = await getJudges();
    const verdict = await once(url, async () => verifyManifest(await fetchText(url, signal), trust, revocations, wire.now()));
    const { id, version } = verdict.manifest;
    const record = { manifest: verdict.manifest, url, state: verdict.state, acceptedAt: wire.now(), lastUsed: wire.now() };
    await updateKey(modelKey(id, version), (old) => ({ ...record, lastUsed: old?.lastUsed ?? record.lastUsed }));
    return { record, notices: [...notices, ...verdict.notices] };
  }

  /** A manifest accepted earlier: revocation stops it, expiry is a notice. */
  async function judge(record) {
    const { trust, revocations, notices } = await getJudges();
    return { record, notices: [...notices, ...judgeCached(record.manifest, trust, revocations, wire.now()).notices] };
  }

  async function storedRecord(id, version) {
    if (version) return readKey(modelKey(id, version));
    const found = (await listKeys("model:")).map(([, record]) => record).filter(({ manifest }) => manifest.id === id);
    return found.sort((a, b) => compareVersions(b.manifest.version, a.manifest.version))[0];
  }

  /**
   * The accepted manifest of a model. A complete cached one answers at once, with no more than the revocations asked of the network;
   * otherwise the site's own manifest is read, and the stored one only without a network.
   * @param {{id?: string, version?: string, url?: string}} which
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<Accepted>}
   */
  async function accepted({ id, version, url }, { signal } = {}) {
    if (url) return fetchManifest(url, signal);
    const stored = await storedRecord(id, version);
    if (stored && (version || globalThis.navigator?.onLine === false) && (await isComplete(stored.manifest))) return judge(stored);
    try {
      const row = await find(id, version, signal);
      if (!row) throw new ModelNotFound(`This site has no model "${id}"${version ? ` of version ${version}` : ""}. listModels() shows what there is.`, { id, version });
      if (stored?.manifest.version === row.version && (await isComplete(stored.manifest))) return await judge(stored);
      return await fetchManifest(new URL(row.manifest, new URL("index.json", urls.models)).href, signal);
    } catch (error) {
      const gone = error instanceof NetworkError || error instanceof ModelNotFound;
      if (!stored || !gone) throw error;
      return judge(stored);
    }
  }

  return { accepted, models, storedRecord, judge };
}
