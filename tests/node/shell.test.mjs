/** The app shells of two sites in two folders of one origin. The shell's own code; only the browser's caches and network are played. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { beforeEach, test } from "node:test";
import { memory } from "../../web/loader/memory.js";

const ORIGIN = "https://host.example";
const BOTH = ["/a/", "/b/"];
const sha256 = (text) => createHash("sha256").update(text).digest("hex");

/** The Cache API over Maps. */
class PlayedCaches {
  #stores = new Map();
  keys = async () => [...this.#stores.keys()];
  delete = async (name) => this.#stores.delete(name);
  async open(name) {
    const rows = this.#stores.get(name) ?? this.#stores.set(name, new Map()).get(name);
    const at = (request) => String(request.url ?? request);
    return {
      keys: async () => [...rows.keys()].map((url) => ({ url })),
      match: async (request) => rows.get(at(request))?.clone(),
      put: async (request, response) => void rows.set(at(request), response),
    };
  }
}

/** What each site serves: its page names the site and the build. */
const page = (path, build) => `${path} of build ${build}`;
let builds;

async function played(url) {
  const path = BOTH.find((site) => new URL(url).pathname.startsWith(site));
  const text = page(path, builds[path]);
  const list = { build: builds[path], files: { "index.html": sha256(text) } };
  return new Response(String(url).endsWith("build.json") ? JSON.stringify(list) : text);
}

beforeEach(() => {
  Object.assign(memory, { owner: true, refused: "there is no IndexedDB in Node", index: new Map() });
  Object.assign(globalThis, { caches: new PlayedCaches(), fetch: played });
  builds = { "/a/": "1", "/b/": "1" };
});

/** A service worker of one site: a module instance of its own, as each worker has. */
const worker = async (path) => ({ shell: await import(`../../web/loader/shell.js?site=${path}${Math.random()}`), base: new URL(path, ORIGIN) });

async function install(path, build, tabs) {
  const { shell, base } = await worker(path);
  builds[path] = build;
  await shell.fillShell(build, base);
  await shell.takeOver(build, tabs.map((id) => ({ id })), base);
  return async (clientId, mode = "same-origin") => {
    const event = { request: { url: new URL("index.html", base).href, mode }, clientId, waitUntil() {} };
    return (await shell.shellResponse(event, build, base)).text();
  };
}

test("shell: a site in another folder of the origin keeps its own shell without a network", async () => {
  const first = await install("/a/", "1", ["a tab"]);
  await install("/b/", "2", []);
  globalThis.fetch = async () => { throw new TypeError("no network"); };
  assert.equal(await first("a tab"), page("/a/", "1"));
});

test("shell: an old tab keeps its build while another site of the origin is updated", async () => {
  await install("/a/", "1", []);
  const next = await install("/a/", "2", ["old"]);
  await install("/b/", "3", ["old"]);
  globalThis.fetch = async () => { throw new TypeError("no network"); };
  assert.deepEqual([await next("old"), await next("new")], [page("/a/", "1"), page("/a/", "2")]);
});

test("shell: a build that no tab has any more is removed, of this site only", async () => {
  await install("/b/", "1", []);
  await install("/a/", "1", []);
  await install("/a/", "2", []);
  assert.equal((await caches.keys()).length, 2);
});
