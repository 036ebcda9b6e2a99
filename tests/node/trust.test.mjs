// The browser's trust layer in Node, by the same vectors as the Python one. Needs Node 20 (WebCrypto Ed25519).
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as errors from "../../web/sdk/errors.js";
import { fromBase64, fromHex, toBase64, toHex, verifyEd25519 } from "../../web/trust/bytes.js";
import { canonicalText, canonicalize } from "../../web/trust/canonical.js";
import { parseManifest, signedPayload, totalSize, unsignedHash } from "../../web/trust/manifest.js";
import { checkBytes, chunkCount, chunkLength, leafHash, leafOf, leavesOf, merkleRoot } from "../../web/trust/merkle.js";
import {
  NO_REVOCATIONS, acceptRevocations, judgeCached, parseRevocations, parseTrust, verifyDetached, verifyManifest,
} from "../../web/trust/trust.js";

const load = (name) => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"));
const utf8 = (text) => new TextEncoder().encode(text);

/** A copy with edits applied: [path, value] sets, [path] deletes. */
function edited(document, edits = []) {
  const result = structuredClone(document);
  for (const [path, ...value] of edits) {
    const target = path.slice(0, -1).reduce((at, key) => at[key], result);
    if (value.length) target[path.at(-1)] = structuredClone(value[0]);
    else if (Array.isArray(target)) target.splice(path.at(-1), 1);
    else delete target[path.at(-1)];
  }
  return result;
}

/** [result, null], or [null, code] of the EdgeNetError that was thrown. */
async function outcome(call) {
  try {
    return [await call(), null];
  } catch (error) {
    assert.ok(error instanceof errors.EdgeNetError, error.stack);
    assert.ok(error.message);
    return [null, error.code];
  }
}

const each = (title, rows, body) => {
  for (const row of rows) test(`${title}: ${row.why}`, () => body(row));
};

// --- errors
test("the table of failures is the shared one", () => {
  const found = [...errors.BY_CODE.values()].map((made) => {
    const parent = made === errors.EdgeNetError ? null : Object.getPrototypeOf(made).name;
    return { name: made.name, parent, code: made.code, exitStatus: made.exitStatus };
  });
  found.sort((a, b) => (a.code < b.code ? -1 : 1));
  assert.deepEqual(found, load("errors").errors);
});

test("every failure is exported, and crosses as data as its own class", () => {
  for (const [code, made] of errors.BY_CODE) {
    assert.equal(errors[made.name], made);
    const error = new made("asked, found, next", { n: 1 });
    const copy = errors.fromData(structuredClone(errors.toData(error)));
    assert.equal(copy.constructor, made);
    assert.deepEqual([copy.code, copy.name, copy.message, copy.details], [code, made.name, error.message, { n: 1 }]);
  }
});

const FOREIGN = [
  { why: "an abort", error: new DOMException("stop", "AbortError"), code: "aborted" },
  { why: "a full store", error: new DOMException("full", "QuotaExceededError"), code: "quota_exceeded" },
  { why: "a timeout", error: new DOMException("late", "TimeoutError"), code: "request_timeout" },
  { why: "a defect", error: new TypeError("x is not a function"), code: "internal" },
  { why: "a thrown text", error: "oops", code: "internal" },
  { why: "a thrown nothing", error: undefined, code: "internal" },
];
each("a browser's error gets a name", FOREIGN, ({ error, code }) => {
  const data = errors.toData(error);
  assert.equal(data.code, code);
  assert.equal(errors.fromData(data).constructor, errors.BY_CODE.get(code));
  assert.equal(errors.named(error).cause, error);
});

test("an unknown code is kept on the base class", () => {
  const error = errors.fromData({ code: "from_the_future", message: "m" });
  assert.deepEqual([error.constructor, error.code], [errors.EdgeNetError, "from_the_future"]);
});

// --- RFC 8785
const canonical = load("canonical");
each("RFC 8785 number", canonical.numbers, ({ bits, text }) => {
  const value = new DataView(fromHex(bits).buffer).getFloat64(0);
  if (text === null) assert.throws(() => canonicalize(value), errors.NotCanonical);
  else assert.equal(canonicalText(value), text);
});
each("canonical form", canonical.texts, (row) => {
  assert.equal(canonicalText(JSON.parse(row.json)), row.canonical);
  assert.deepEqual(canonicalize(JSON.parse(row.json)), utf8(row.canonical));
});
each("no canonical form", canonical.refused, ({ json }) => {
  assert.throws(() => canonicalize(JSON.parse(json)), errors.NotCanonical);
});
const NOT_JSON = [undefined, NaN, -Infinity, 1n, () => 0, Symbol("s"), new Map(), new Date(0), new Uint8Array(1), [,]];
each("not JSON", NOT_JSON.map((value) => ({ why: Object.prototype.toString.call(value) + String(value?.constructor?.name), value })), ({ value }) => {
  assert.throws(() => canonicalize({ a: value }), errors.NotCanonical);
});

// --- Merkle trees
const merkle = load("merkle");
each("RFC 6962 root", merkle.roots, async ({ count, root }) => {
  const leaves = await Promise.all(merkle.chunks.slice(0, count).map((chunk) => leafOf(fromHex(chunk))));
  assert.equal(toHex(await merkleRoot(leaves)), root);
});

test("a leaf is hashed in place behind its prefix, from a view into a larger buffer too", async () => {
  const whole = Uint8Array.from([9, 0, 1, 2, 3, 9]);
  assert.deepEqual(await leafHash(whole.subarray(1, 5)), await leafOf(Uint8Array.from([1, 2, 3])));
  assert.equal((await outcome(() => leafHash(whole)))[1], "invalid_option");
});

test("a tree without leaves is refused", async () => assert.equal((await outcome(() => merkleRoot([])))[1], "invalid_option"));

test("chunks are counted and measured", () => {
  const table = [[0, 4, 1], [1, 4, 1], [4, 4, 1], [5, 4, 2], [8, 4, 2]];
  for (const [size, chunk, count] of table) assert.equal(chunkCount(size, chunk), count);
  assert.deepEqual([chunkLength(5, 4, 0), chunkLength(5, 4, 1)], [4, 1]);
});

test("a leaves file is taken only if it is the one that the artifact names", async () => {
  const leaves = await Promise.all([1, 2, 3].map((n) => leafOf(Uint8Array.of(n))));
  const data = Uint8Array.from(leaves.flatMap((leaf) => [...leaf]));
  const hash = createHash("sha256").update(data).digest("hex");
  const root = toHex(await merkleRoot(leaves));
  const artifact = { merkleRoot: root, leavesFile: { filename: "a.leaves", size: 96, sha256: hash } };
  assert.deepEqual(await leavesOf(artifact, data), leaves);
  assert.equal((await outcome(() => leavesOf(artifact)))[1], "size_mismatch");
  assert.equal((await outcome(() => leavesOf(artifact, data.slice().fill(1, 0, 1))))[1], "hash_mismatch");
  assert.equal((await outcome(() => leavesOf({ ...artifact, merkleRoot: hash }, data)))[1], "hash_mismatch");
  assert.equal((await outcome(() => checkBytes(data, 95, hash, "a")))[1], "size_mismatch");
});

// --- RFC 8032
const ed25519 = load("ed25519");
const check = ({ publicKey, signature, message }) => verifyEd25519(fromHex(publicKey), fromHex(signature), fromHex(message));
each("RFC 8032", ed25519.rfc8032, async (row) => assert.equal(await check(row), true));
each("refused by RFC 8032", ed25519.refused, async (row) => assert.equal(await check(row), false));

test("base64 and hex come back as they went", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  assert.deepEqual(fromBase64(toBase64(bytes)), bytes);
  assert.deepEqual(fromHex(toHex(bytes)), bytes);
});

// --- the manifest
const manifests = load("manifest");
each("manifest", manifests.rows, async ({ edits, code }) => {
  const document = edited(manifests.manifest, edits);
  assert.equal((await outcome(() => parseManifest(document)))[1], code);
  assert.equal((await outcome(() => parseManifest(utf8(JSON.stringify(document)))))[1], code);
});
each("manifest text", manifests.texts, async ({ text, code }) => {
  assert.equal((await outcome(() => parseManifest(utf8(text))))[1], code);
  assert.equal((await outcome(() => parseManifest(utf8(text).buffer)))[1], code);
});

const NO_OBJECT = [
  { why: "invalid UTF-8", data: Uint8Array.of(0x7b, 0xff, 0x7d) },
  { why: "larger than any manifest", data: new Uint8Array((4 << 20) + 1).fill(32) },
  { why: "a number", data: 7 }, { why: "nothing", data: undefined }, { why: "a list", data: [] },
];
each("no JSON object", NO_OBJECT, async ({ data }) => {
  assert.equal((await outcome(() => parseManifest(data)))[1], "manifest_not_json");
});

const vectors = load("trust");
test("the signed payload is the shared one, and the given object is not touched", async () => {
  const parsed = await parseManifest(vectors.manifest);
  assert.deepEqual(parsed, vectors.manifest);
  assert.notEqual(parsed.artifacts, vectors.manifest.artifacts);
  assert.equal(await unsignedHash(parsed), vectors.canonicalSha256);
  assert.equal(new TextDecoder().decode(await signedPayload(parsed, vectors.signedAt)), vectors.payload);
  assert.equal(totalSize(parsed), 2600);
});

// --- trust
async function world(row) {
  let document = vectors.manifest;
  if (row.before) document = { ...edited(document, row.before), signature: { ...document.signature, value: row.value } };
  return [
    edited(document, row.after),
    await parseTrust(edited(vectors.trust, row.trust)),
    parseRevocations(edited(vectors.revocations, row.revoke)),
    Date.parse(row.now ?? vectors.now),
  ];
}

each("accepting", vectors.verdicts, async (row) => {
  const args = await world(row);
  const [found, code] = await outcome(() => verifyManifest(...args));
  assert.equal(code, row.code);
  if (found) {
    assert.deepEqual(found, { manifest: args[0], state: "signed", keyId: args[0].signature.keyId, notices: [] });
  }
});
each("accepted earlier", vectors.verdicts, async (row) => {
  const args = await world(row);
  const [found, code] = await outcome(() => judgeCached(...args));
  assert.equal(code, row.cached);
  if (found) assert.deepEqual(found.notices.map((notice) => notice.code), row.notices);
});

test("an unsigned manifest is accepted only when asked, a badly signed one never", async () => {
  const [unsigned, ...rest] = await world({ after: [[["signature"]]] });
  const found = await verifyManifest(unsigned, ...rest, { allowUnsigned: true });
  assert.deepEqual([found.state, found.keyId], ["unsigned", null]);
  assert.equal(judgeCached(unsigned, ...rest).state, "unsigned");
  const [bad] = await world({ after: [[["name"], "Evil"]] });
  assert.equal((await outcome(() => verifyManifest(bad, ...rest, { allowUnsigned: true })))[1], "signature_invalid");
});

test("trust and revocations survive the way to a worker", async () => {
  const [document, trust, revocations, now] = await world({});
  const found = await verifyManifest(document, structuredClone(trust), structuredClone(revocations), now);
  assert.equal(found.state, "signed");
});

each("revocation list", vectors.lists, async ({ document, previous, code }) => {
  const trust = await parseTrust(vectors.trust);
  const before = previous ? parseRevocations(previous) : NO_REVOCATIONS;
  const [found, was] = await outcome(() => acceptRevocations(document, trust, before, Date.parse(vectors.now)));
  assert.equal(was, code);
  if (found) assert.deepEqual(found.document, document);
});
each("trust file", vectors.trustFiles, async ({ edits, code }) => {
  assert.equal((await outcome(() => parseTrust(edited(vectors.trust, edits))))[1], code);
});
each("detached signature", vectors.detached, async (row) => {
  const trust = await parseTrust(edited(vectors.trust, row.trust));
  const call = () => verifyDetached(utf8(row.data), row.signature, trust, NO_REVOCATIONS, Date.parse(vectors.now));
  const [found, code] = await outcome(call);
  assert.equal(code, row.code);
  if (found) assert.equal(found, vectors.trust.keys[0].keyId);
});

test("base64 of a megabyte is what Buffer says", () => {
  const bytes = Uint8Array.from({ length: 1 << 20 }, (_, i) => i * 31);
  assert.equal(toBase64(bytes), Buffer.from(bytes).toString("base64"));
});
