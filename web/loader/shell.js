/**
 * The app shell in the Cache API: filled whole and verified, or not at all; old tabs keep the build they were loaded from.
 * Runs in the service worker only.
 */
import { HashMismatch, HttpStatusError } from "../sdk/errors.js";
import { sha256, toHex } from "../trust/bytes.js";
import { readKey, shellKey, writeKey } from "./store.js";

const LIST = "build.json"; // written last: a cache that has it is complete
const PARALLEL = 6;
/** Caches are the whole origin's: a site's names carry its folder, and "@", which no encoded folder has. @param {URL} base the site's root */
const prefixOf = (base) => `edgenet-shell-${encodeURIComponent(base.pathname)}@`;
const cacheName = (/** @type {string} */ build, /** @type {URL} */ base) => prefixOf(base) + build;

/** Live documents: the newest is wanted, the kept one serves without a network. */
export const LIVE = new Set(["trust.json", "revocations.json"]);

const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "cross-origin",
};
/** The embed frame isolates itself inside any host page; it must not cut the host's openers. */
const FRAME = {
  "Document-Isolation-Policy": "isolate-and-require-corp",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "cross-origin",
};
const NO_BODY = new Set([101, 204, 205, 304]);

/** The same answer with isolation headers; opaque answers and errors pass as they are. @param {Response} response @param {string} path */
export function isolate(response, path) {
  if (response.status === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(path.endsWith("embed.html") ? FRAME : ISOLATED)) headers.set(name, value);
  return new Response(NO_BODY.has(response.status) ? null : response.body, { status: response.status, statusText: response.statusText, headers });
}

/**
 * Fills the cache of this build. Files that an older build has under the same hash are copied, not fetched.
 * @param {string} build @param {URL} base the site's root
 * @throws if any file cannot be fetched or is not the build's: the browser keeps the old service worker and tries again later
 */
export async function fillShell(build, base) {
  const answer = await fetch(new URL(LIST, base), { cache: "no-store" });
  if (!answer.ok) throw new HttpStatusError(`${LIST} answered ${answer.status}; the shell cannot be verified.`, { status: answer.status });
  const list = await answer.json();
  if (list.build !== build) throw new HashMismatch(`This service worker is of build ${build}, the site is now ${list.build}. The next check will find its own.`);
  const cache = await caches.open(cacheName(build, base));
  const older = await olderFiles(build, base);
  const queue = Object.entries(list.files).filter(([path]) => !LIVE.has(path));
  const work = async () => {
    for (let row = queue.shift(); row; row = queue.shift()) await fillOne(cache, older, base, ...row);
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  await cache.put(new URL(LIST, base), new Response(JSON.stringify(list), { headers: { "Content-Type": "application/json" } }));
}

async function fillOne(cache, older, base, path, hash) {
  const url = new URL(path, base);
  if (await cache.match(url)) return; // verified by an install that was cut short
  const copy = await older.get(`${hash} ${path}`)?.();
  return cache.put(url, copy ?? (await fetchVerified(url, path, hash)));
}

/** @param {URL} url @param {string} path @param {string} hash SHA-256, hex @throws {HttpStatusError | HashMismatch} */
async function fetchVerified(url, path, hash) {
  const response = await fetch(url, { cache: "no-cache" });
  if (!response.ok) throw new HttpStatusError(`${url} answered ${response.status}.`, { url: url.href, status: response.status });
  const bytes = await response.arrayBuffer();
  const found = toHex(await sha256(bytes));
  if (found !== hash) throw new HashMismatch(`${url} has SHA-256 ${found}, the build says ${hash}.`, { url: url.href });
  // Packed or redirected on the way: neither is true of what is kept.
  const headers = { "Content-Type": response.headers.get("Content-Type") ?? "application/octet-stream", "Content-Length": String(bytes.byteLength) };
  return isolate(new Response(bytes, { headers }), path);
}

/** "hash path" → a function that answers the kept response. @returns {Promise<Map<string, () => Promise<Response | undefined>>>} */
async function olderFiles(build, base) {
  const found = new Map();
  for (const name of (await shellNames(base)).filter((n) => n !== cacheName(build, base))) {
    const cache = await caches.open(name);
    const [request] = (await cache.keys()).filter(({ url }) => url.endsWith(`/${LIST}`));
    if (!request) continue;
    const list = await cache.match(request);
    if (!list) continue; // another tab has just removed this old shell
    const { files, lazy } = await list.json();
    for (const [path, hash] of Object.entries({ ...files, ...lazy })) found.set(`${hash} ${path}`, () => cache.match(new URL(path, request.url)));
  }
  return found;
}

const shellNames = async (base) => (await caches.keys()).filter((name) => name.startsWith(prefixOf(base)));

// --- which tab belongs to which build

/** @type {Promise<{active: string, clients: Record<string, string>}> | undefined} */
let sessions;
const loadSessions = (base) => (sessions ??= readKey(shellKey(base)).then((found) => found ?? { active: "", clients: {} }));
const saveSessions = async (base) => writeKey(shellKey(base), await loadSessions(base));

/**
 * Called on activation: everybody who is here now was loaded from the build before.
 * @param {string} build @param {readonly {id: string}[]} present @param {URL} base the site's root
 */
export async function takeOver(build, present, base) {
  const found = await loadSessions(base);
  if (found.active && found.active !== build) for (const { id } of present) found.clients[id] ??= found.active;
  found.active = build;
  await sweep(build, present, base);
}

/**
 * Forgets tabs that are gone and deletes the shells of this site that nobody needs.
 * @param {string} build @param {readonly {id: string}[]} present @param {URL} base the site's root
 */
export async function sweep(build, present, base) {
  const found = await loadSessions(base);
  const alive = new Set(present.map(({ id }) => id));
  found.clients = Object.fromEntries(Object.entries(found.clients).filter(([id]) => alive.has(id)));
  const needed = new Set([build, ...Object.values(found.clients)].map((old) => cacheName(old, base)));
  for (const name of await shellNames(base)) if (!needed.has(name)) await caches.delete(name);
  await saveSessions(base);
}

/** The build that answers this request: a worker started by an old tab belongs to the old build too. */
async function buildOf(event, build, base) {
  const found = await loadSessions(base);
  const own = found.clients[event.clientId];
  if (!own || event.request.mode === "navigate") return build;
  if (event.resultingClientId && !found.clients[event.resultingClientId]) {
    found.clients[event.resultingClientId] = own;
    await saveSessions(base);
  }
  return own;
}

/**
 * Answers a request for one of the site's own files: from the build's cache, else from the network. The build's `lazy` files (large, and
 * only for teaching) are verified and kept when they are first used.
 * @param {any} event a FetchEvent @param {string} build @param {URL} base
 */
export async function shellResponse(event, build, base) {
  const url = new URL(event.request.url);
  url.search = "";
  const path = url.pathname.slice(base.pathname.length);
  const cache = await caches.open(cacheName(await buildOf(event, build, base), base));
  if (LIVE.has(path)) return liveResponse(event.request, url, path, cache);
  const kept = await cache.match(path === "" ? new URL("index.html", base) : url);
  if (kept) return kept;
  const hash = (await lazyFiles(cache, base))[path];
  return hash ? lazyResponse(event, cache, url, path, hash, () => olderFiles(build, base)) : isolate(await fetch(event.request), path);
}

/** @returns {Promise<Record<string, string>>} path → hash */
async function lazyFiles(cache, base) {
  const list = await cache.match(new URL(LIST, base));
  return list ? ((await list.json()).lazy ?? {}) : {}; // none: this build's shell is not complete yet
}

async function lazyResponse(event, cache, url, path, hash, older) {
  const response = (await (await older()).get(`${hash} ${path}`)?.()) ?? (await fetchVerified(url, path, hash));
  event.waitUntil(cache.put(url, response.clone()).catch(() => {})); // no room: fetched again next time
  return response;
}

async function liveResponse(request, url, path, cache) {
  try {
    const response = isolate(await fetch(request), path);
    if (response.ok) await cache.put(url, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(url);
    if (kept) return kept;
    throw error;
  }
}
