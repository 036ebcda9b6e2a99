/** Which version of a model is the newest, by the same vectors as in Python; when a site is asked again whom it believes. */
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { makeCatalog } from "../../web/loader/catalog.js";
import { memory } from "../../web/loader/memory.js";
import { canonicalize } from "../../web/trust/canonical.js";
import { compareVersions } from "../../web/trust/versions.js";

const { ascending } = JSON.parse(readFileSync(new URL("../vectors/versions.json", import.meta.url), "utf8"));

test("versions: every pair is ordered as semver says", () => {
  const all = ascending.flatMap((row, place) => row.map((version) => ({ version, place })));
  for (const a of all) for (const b of all) {
    assert.equal(Math.sign(compareVersions(a.version, b.version)), Math.sign(a.place - b.place), `${a.version} and ${b.version}`);
  }
});

test("listModels: of each model the newest version comes first, whatever the site's order, and is the one that is found", async () => {
  Object.assign(memory, { owner: true, refused: "there is no IndexedDB in Node", index: new Map() });
  const rows = ["b 1.0.0", "a 1.0.0", "b 10.0.0-rc.1", "b 10.0.0", "b 2.0.0"].map((row) => ({ id: row[0], version: row.slice(2) }));
  const fetch = async () => new Response(JSON.stringify({ models: rows }));
  const catalog = makeCatalog({ urls: URLS, wire: { fetch, sleep: async () => {}, now: () => 0 }, timeout: 1000, network: new EventTarget() });
  const listed = (await catalog.models()).map(({ id, version }) => `${id} ${version}`);
  assert.deepEqual(listed, ["b 10.0.0", "b 10.0.0-rc.1", "b 2.0.0", "b 1.0.0", "a 1.0.0"]);
});

// --- revocations, signed by a key made here; the site and the clock are played

const { manifest, trust, signedAt } = JSON.parse(readFileSync(new URL("../vectors/trust.json", import.meta.url), "utf8"));
const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
const keyId = createHash("sha256").update(raw).digest("hex").slice(0, 16);
const own = { ...trust.keys[0], keyId, publicKey: raw.toString("base64"), capabilities: ["revoke"] };
const TRUST = JSON.stringify({ ...trust, keys: [...trust.keys, own] });
const URLS = { models: "https://site.example/models/", trust: "https://site.example/trust.json", revocations: "https://site.example/revocations.json" };
const MINUTE = 60_000;
const record = { manifest, url: "", state: "signed", acceptedAt: 0, lastUsed: 0 };

function revocations(sequence, manifests) {
  const list = { schemaVersion: 1, sequence, issuedAt: signedAt, keys: [], manifests };
  const value = sign(null, canonicalize(list), privateKey).toString("base64");
  return JSON.stringify({ ...list, signature: { algorithm: "ed25519", keyId, timestamp: signedAt, value } });
}

/** A tab that judged a model once, before the site withdrew it. */
async function openTab() {
  Object.assign(memory, { owner: true, refused: "there is no IndexedDB in Node", index: new Map() });
  const site = { [URLS.trust]: TRUST, [URLS.revocations]: revocations(1, []) };
  const tab = { now: Date.parse(signedAt), asked: 0, network: new EventTarget(), online: true };
  const fetch = async (url) => {
    if (!tab.online) throw new TypeError("no network");
    tab.asked += url === URLS.revocations;
    return new Response(site[url]);
  };
  const catalog = makeCatalog({ urls: URLS, wire: { fetch, sleep: async () => {}, now: () => tab.now }, timeout: 1000, network: tab.network });
  tab.judge = () => catalog.judge(record).then(() => "accepted", ({ code }) => code);
  assert.equal(await tab.judge(), "accepted");
  site[URLS.revocations] = revocations(2, [{ id: manifest.id, version: manifest.version }]);
  return tab;
}

test("revocations: a tab that stays open learns of them within ten minutes, and asks no oftener", async () => {
  const tab = await openTab();
  tab.now += 9 * MINUTE;
  assert.deepEqual([await tab.judge(), tab.asked], ["accepted", 1]);
  tab.now += MINUTE;
  assert.deepEqual([await tab.judge(), tab.asked], ["manifest_revoked", 2]);
});

test("revocations: they are asked for as soon as the network returns", async () => {
  const tab = await openTab();
  tab.network.dispatchEvent(new Event("online"));
  assert.equal(await tab.judge(), "manifest_revoked");
});

test("revocations: what was withdrawn stays withdrawn without a network", async () => {
  const tab = await openTab();
  tab.now += 10 * MINUTE;
  await tab.judge();
  tab.online = false;
  tab.now += 10 * MINUTE;
  assert.equal(await tab.judge(), "manifest_revoked");
});
