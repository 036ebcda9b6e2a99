/** Who vouches for an adapter, as a site judges: by the keys and the revocations that it publishes now. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { signedBy } from "../../web/engine/site-trust.js";
import { toBase64 } from "../../web/trust/bytes.js";
import { canonicalize } from "../../web/trust/canonical.js";
import { timeText } from "../../web/trust/fields.js";
import { keyId } from "../../web/trust/manifest.js";

const URLS = { trust: "https://site.example/trust.json", revocations: "https://site.example/revocations.json" };
const NOW = Date.UTC(2026, 5, 1), TIME = timeText(NOW - 1000);
const { privateKey, publicKey } = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
const raw = new Uint8Array(await crypto.subtle.exportKey("raw", publicKey));
const id = await keyId(raw);
const payload = new TextEncoder().encode("what an adapter does");

const signature = async (bytes) => ({ algorithm: "ed25519", keyId: id, timestamp: TIME, value: toBase64(new Uint8Array(await crypto.subtle.sign("Ed25519", privateKey, bytes))) });

async function site(t, { capabilities = ["sign-adapter", "revoke"], publicKey: key = raw, keys = [] }) {
  const entry = { keyId: await keyId(key), publicKey: toBase64(key), notBefore: "2026-01-01T00:00:00Z", notAfter: "2027-01-01T00:00:00Z", capabilities };
  const list = { schemaVersion: 1, sequence: 1, issuedAt: TIME, keys, manifests: [] };
  const files = { [URLS.trust]: { schemaVersion: 1, keys: [entry] }, [URLS.revocations]: { ...list, signature: await signature(canonicalize(list)) } };
  t.mock.method(globalThis, "fetch", async (url) => new Response(JSON.stringify(files[url])));
}

/** [what it is, of the site, what was signed, the answer] @type {[string, any, Uint8Array, string][]} */
const ROWS = [["a key of the site's", {}, payload, id], ["a key that the site does not know counts as none", { publicKey: raw.map((byte) => byte ^ 1) }, payload, ""]];
for (const [what, of, bytes, answer] of ROWS) {
  test(`adapters' signatures: ${what}`, async (t) => {
    await site(t, of);
    assert.deepEqual(await signedBy(URLS, { payload, signature: await signature(bytes) }, NOW), { keyId: answer });
  });
}

/** [why, of the site, what was signed, the error's code] @type {[string, any, Uint8Array, string][]} */
const REFUSED = [["it is of something else", {}, payload.slice(1), "signature_invalid"], ["its key was revoked", { keys: [id] }, payload, "key_revoked"],
  ["its key may not sign adapters", { capabilities: ["sign-manifest", "revoke"] }, payload, "key_incapable"]];
for (const [why, of, bytes, code] of REFUSED) {
  test(`adapters' signatures: refused where ${why}`, async (t) => {
    await site(t, of);
    await assert.rejects(signedBy(URLS, { payload, signature: await signature(bytes) }, NOW), { code });
  });
}
