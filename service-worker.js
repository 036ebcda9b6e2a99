/**
 * The service worker: isolation headers for a plain static host, the app shell without a network, model URLs from the store.
 * It fetches, verifies, keeps and answers; it never runs a model. Everything works, slower or not isolated, without it.
 * Trap: requests with `cache: "no-store"` are left alone; that is how the loader worker reaches the network itself.
 */
import { makeCatalog } from "./web/loader/catalog.js";
import { WIRE } from "./web/loader/http.js";
import { modelResponse } from "./web/loader/serve-models.js";
import { fillShell, isolate, shellResponse, sweep, takeOver } from "./web/loader/shell.js";

const BUILD = "__EDGENET_BUILD__"; // put in when the site is put together
const worker = /** @type {any} */ (self);
const base = new URL("./", worker.location.href);
const at = (/** @type {string} */ path) => new URL(path, base).href;
const setting = { wire: WIRE, timeout: 30_000, parallel: 2, retries: 2, prefer: [] };
const catalog = makeCatalog({ urls: { models: at("models/"), trust: at("trust.json"), revocations: at("revocations.json") }, ...setting });
const everybody = () => worker.clients.matchAll({ includeUncontrolled: true, type: "all" });

worker.addEventListener("install", (event) => event.waitUntil(fillShell(BUILD, base)));

worker.addEventListener("activate", (event) => event.waitUntil((async () => {
  await takeOver(BUILD, await everybody(), base);
  await worker.clients.claim();
})()));

/** kind → what a page may ask of a waiting service worker. */
const MESSAGES = { skipWaiting: () => worker.skipWaiting(), build: (event) => event.source?.postMessage({ kind: "build", build: BUILD }) };
worker.addEventListener("message", (event) => {
  if (Object.hasOwn(MESSAGES, event.data?.kind)) MESSAGES[event.data.kind](event);
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== base.origin || !url.pathname.startsWith(base.pathname)) return;
  if (request.mode !== "navigate" && (request.cache === "no-store" || request.cache === "only-if-cached")) return;
  event.respondWith(answer(event, url.pathname.slice(base.pathname.length)));
});

async function answer(event, path) {
  if (path.startsWith("models/")) {
    const response = await modelResponse(event.request, path.slice("models/".length), catalog, setting);
    return isolate(response ?? (await fetch(event.request)), path);
  }
  if (path === "build.json") return isolate(await fetch(event.request), path);
  if (event.request.mode === "navigate") event.waitUntil(everybody().then((present) => sweep(BUILD, present, base)));
  return shellResponse(event, BUILD, base);
}
