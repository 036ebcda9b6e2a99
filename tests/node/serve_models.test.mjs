/** Model URLs of the service worker: what it answers of a model that was accepted once. The store is the loader's own last resort, memory. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { makeCatalog } from "../../web/loader/catalog.js";
import { memory } from "../../web/loader/memory.js";
import { modelResponse } from "../../web/loader/serve-models.js";
import { artifactKey, documentKey, modelKey } from "../../web/loader/store.js";

const { manifest, trust, signedAt } = JSON.parse(readFileSync(new URL("../vectors/trust.json", import.meta.url), "utf8"));
const { filename, size, chunkSize, merkleRoot } = manifest.artifacts.model;
const { id, version } = manifest;
const URLS = { models: "https://site.example/models/", trust: "https://site.example/trust.json", revocations: "https://site.example/revocations.json" };
const BYTES = Array.from({ length: Math.ceil(size / chunkSize) }, (_, i) => new Uint8Array(Math.min(chunkSize, size - i * chunkSize)).fill(i + 1));

/** What the service worker answers for a path when these models were withdrawn. */
async function answer(path, withdrawn = []) {
  memory.owner = true; // nobody else is asked
  memory.refused = "there is no IndexedDB in Node";
  const revocations = { schemaVersion: 1, sequence: 1, issuedAt: signedAt, keys: [], manifests: withdrawn };
  memory.index = new Map(Object.entries({
    [documentKey("trust", URLS.trust)]: JSON.stringify(trust), [documentKey("revocations", URLS.revocations)]: JSON.stringify(revocations),
    [modelKey(id, version)]: { manifest, url: `${URLS.models}${id}/${version}/manifest.json`, state: "signed", acceptedAt: 0, lastUsed: 0 },
    [artifactKey(merkleRoot)]: { size, chunkSize, have: new Uint8Array([255]), complete: true, lastUsed: 0, place: "memory" },
  }));
  memory.chunks = new Map([[merkleRoot, BYTES]]);
  const wire = { fetch: async () => { throw new TypeError("no network"); }, sleep: async () => {}, now: () => Date.parse(signedAt) };
  const setting = { wire, timeout: 1000, parallel: 1, retries: 0, prefer: [] };
  return modelResponse(new Request(URLS.models + path), path, makeCatalog({ urls: URLS, ...setting }), setting);
}

test("model URLs: without a network a stored model is answered whole", async () => {
  const response = await answer(`${id}/${version}/${filename}`);
  assert.deepEqual(new Uint8Array(await response.arrayBuffer()), new Uint8Array(BYTES.flatMap((chunk) => [...chunk])));
});

test("model URLs: a model withdrawn since is an error, not bytes", async () => {
  const response = await answer(`${id}/${version}/${filename}`, [{ id, version }]);
  assert.deepEqual([response.status, (await response.json()).code], [502, "manifest_revoked"]);
});

test("model URLs: an escaped name is the file of that name, a broken escape none of ours", async () => {
  const escaped = filename.replace(".", "%2E");
  assert.equal((await answer(`${id}/${version}/${escaped}`)).status, 200);
  assert.equal(await answer(`${id}/${version}/%zz`), null); // the network answers
});
