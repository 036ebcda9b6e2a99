/**
 * Whom a site believes: keys with dates and duties, revocations, and the verdict on a manifest. Runs anywhere.
 * Twin of `pysrc/edgenet/trust.py`; times are milliseconds since 1970 here. The judgement order: form, signature, key
 * known, not revoked, allowed to do this, valid when it signed and now, manifest not revoked, not expired.
 */

import {
  InvalidSignature, KeyExpired, KeyIncapable, KeyNotYetValid, KeyRevoked, KeyUntrusted, ManifestExpired, ManifestRevoked,
  NoTrustedKey, PackKeyError, RevocationsInvalid, RevocationsOutdated, SignatureInvalid, SignatureMissing, TrustFileInvalid,
} from "../sdk/errors.js";
import { fromBase64, verifyEd25519 } from "./bytes.js";
import { canonicalText, canonicalize } from "./canonical.js";
import {
  BASE64_32, BASE64_64, COUNT, KEY_ID, MODEL_ID, OBJECT, SIGNATURE, TEXT, TIME, VERSION,
  checkFields, listOf, loadObject, milliseconds, timeText,
} from "./fields.js";
import { checkSchemaVersion, keyId, parseManifest, signedPayload } from "./manifest.js";

export const SIGN_MANIFEST = "sign-manifest";
export const SIGN_KERNELS = "sign-kernels";
export const SIGN_ADAPTER = "sign-adapter";
export const REVOKE = "revoke";

/** @typedef {import("../sdk/errors.js").EdgeNetError} EdgeNetError */
/** @typedef {{keyId: string, publicKey: Uint8Array, notBefore: number, notAfter: number, capabilities: string[]}} Key */
/** @typedef {{keys: Map<string, Key>}} Trust a site's root; can be sent to a worker */
/** @typedef {{sequence: number, keys: string[], manifests: {id: string, version: string}[], document: any}} Revocations */
/** @typedef {{code: string, message: string}} Notice */
/** @typedef {{manifest: any, state: "signed" | "unsigned", keyId: string | null, notices: Notice[]}} Verdict */

/** Revokes nothing and is older than any list. @type {Revocations} */
export const NO_REVOCATIONS = Object.freeze({ sequence: -1, keys: [], manifests: [], document: null });

/** @type {import("./fields.js").Field[]} */
const KEY = [
  ["keyId", KEY_ID, true],
  ["publicKey", BASE64_32, true],
  ["notBefore", TIME, true],
  ["notAfter", TIME, true],
  ["capabilities", listOf(TEXT), true],
];
/** @type {import("./fields.js").Field[]} */
const REVOCATIONS = [
  ["sequence", COUNT, true],
  ["issuedAt", TIME, true],
  ["keys", listOf(KEY_ID), true],
  ["manifests", listOf(OBJECT), true],
  ["signature", OBJECT],
];

/**
 * The keys of a trust.json. Raises TrustFileInvalid or SchemaVersionUnsupported.
 * @param {Uint8Array | ArrayBuffer | string | object} data
 * @returns {Promise<Trust>}
 */
export async function parseTrust(data) {
  const document = loadObject(data, "trust.json", TrustFileInvalid, TrustFileInvalid);
  checkSchemaVersion(document, "trust.json", TrustFileInvalid);
  checkFields(document, [["keys", listOf(OBJECT, 1), true]], "trust.json", TrustFileInvalid);
  /** @type {Map<string, Key>} */
  const keys = new Map();
  for (const [i, entry] of document.keys.entries()) {
    const key = await parseKey(entry, `trust.json keys[${i}]`);
    if (keys.has(key.keyId)) {
      throw new TrustFileInvalid("trust.json: one key is listed twice; merge its capabilities into one entry");
    }
    keys.set(key.keyId, key);
  }
  return { keys };
}

/** @param {any} entry @param {string} where @returns {Promise<Key>} */
async function parseKey(entry, where) {
  checkFields(entry, KEY, where, TrustFileInvalid);
  const publicKey = fromBase64(entry.publicKey);
  const expected = await keyId(publicKey);
  if (entry.keyId !== expected) {
    const text = `${where}: keyId is ${entry.keyId}, but the key's own id is ${expected}; correct it`;
    throw new TrustFileInvalid(text, { expected, found: entry.keyId });
  }
  const [notBefore, notAfter] = [milliseconds(entry.notBefore), milliseconds(entry.notAfter)];
  if (notBefore > notAfter) {
    throw new TrustFileInvalid(`${where}: notBefore ${entry.notBefore} is after notAfter ${entry.notAfter}`);
  }
  return { keyId: expected, publicKey, notBefore, notAfter, capabilities: entry.capabilities };
}

/**
 * The list in a revocations.json, its signature not yet judged. Raises RevocationsInvalid or SchemaVersionUnsupported.
 * @param {Uint8Array | ArrayBuffer | string | object} data
 * @returns {Revocations}
 */
export function parseRevocations(data) {
  const document = loadObject(data, "revocations.json", RevocationsInvalid, RevocationsInvalid);
  checkSchemaVersion(document, "revocations.json", RevocationsInvalid);
  checkFields(document, REVOCATIONS, "revocations.json", RevocationsInvalid);
  if (document.signature) checkFields(document.signature, SIGNATURE, "revocations.json signature", RevocationsInvalid);
  for (const [i, entry] of document.manifests.entries()) {
    checkFields(entry, [["id", MODEL_ID, true], ["version", VERSION, true]], `revocations.json manifests[${i}]`, RevocationsInvalid);
  }
  return { sequence: document.sequence, keys: document.keys, manifests: document.manifests, document };
}

/**
 * The list in `data` if a key with "revoke" signed it and it is not older than `previous`.
 * Raises RevocationsInvalid, RevocationsOutdated or the TrustError of the key. A list may revoke its own key.
 * @param {Uint8Array | ArrayBuffer | string | object} data @param {Trust} trust @param {Revocations} previous
 * @param {number} [now]
 * @returns {Promise<Revocations>}
 */
export async function acceptRevocations(data, trust, previous = NO_REVOCATIONS, now = Date.now()) {
  const fresh = parseRevocations(data);
  // Seen again, perhaps after it revoked its own key.
  if (previous.document && canonicalText(fresh.document) === canonicalText(previous.document)) return previous;
  const { signature, ...unsigned } = fresh.document;
  requireSignature(signature, "revocations.json");
  if (signature.timestamp !== unsigned.issuedAt) {
    throw new RevocationsInvalid("revocations.json: the signature's timestamp must be issuedAt; sign the list again");
  }
  await checkSignature(canonicalize(unsigned), signature, trust, previous, REVOKE, now);
  if (fresh.sequence > previous.sequence) return fresh;
  throw new RevocationsOutdated(
    `revocations.json: sequence ${fresh.sequence} cannot replace the accepted sequence ${previous.sequence}; the accepted one stays`,
    { accepted: previous.sequence, found: fresh.sequence },
  );
}

/**
 * The verdict on a manifest that is about to be accepted. Raises a ManifestError or a TrustError.
 * With `allowUnsigned` a manifest that has no signature at all is accepted as "unsigned"; a bad one never is.
 * @param {Uint8Array | ArrayBuffer | string | object} data @param {Trust} trust @param {Revocations} [revocations]
 * @param {number} [now] milliseconds since 1970
 * @param {{allowUnsigned?: boolean}} [options]
 * @returns {Promise<Verdict>}
 */
export async function verifyManifest(data, trust, revocations = NO_REVOCATIONS, now = Date.now(), { allowUnsigned = false } = {}) {
  const manifest = await parseManifest(data);
  if (allowUnsigned && !manifest.signature) return { manifest, state: "unsigned", keyId: null, notices: [] };
  const signature = requireSignature(manifest.signature, "manifest");
  const payload = await signedPayload(manifest, signature.timestamp);
  const key = await checkSignature(payload, signature, trust, revocations, SIGN_MANIFEST, now);
  raiseFirst([...withdrawn(manifest, revocations), ...outlived(manifest, now)]);
  return { manifest, state: "signed", keyId: key.keyId, notices: [] };
}

/**
 * The verdict on a parsed manifest that was accepted earlier: what has expired since is only a notice.
 * Raises KeyRevoked or ManifestRevoked. Its signature was verified when it was accepted and is not verified again.
 * @param {any} manifest @param {Trust} trust @param {Revocations} [revocations] @param {number} [now]
 * @returns {Verdict}
 */
export function judgeCached(manifest, trust, revocations = NO_REVOCATIONS, now = Date.now()) {
  const name = manifest.signature?.keyId ?? null;
  raiseFirst([...keyRevoked(name, revocations), ...withdrawn(manifest, revocations)]);
  const key = trust.keys.get(name);
  const aged = [...outlived(manifest, now), ...(key ? keyDates(key, now, "now") : [])];
  if (name && !key) {
    aged.push(new KeyUntrusted(`the key ${name} that signed this model is no longer in trust.json`, { keyId: name }));
  }
  const notices = aged.map(({ code, message }) => ({ code, message }));
  return { manifest, state: name ? "signed" : "unsigned", keyId: name, notices };
}

/**
 * The id of the key whose base64 signature covers the bytes (a kernel pack's kernels.json).
 * Tries each key that may sign kernels now. Raises PackKeyError, NoTrustedKey or InvalidSignature.
 * @param {Uint8Array} data @param {string} signature @param {Trust} trust @param {Revocations} [revocations]
 * @param {number} [now]
 * @returns {Promise<string>}
 */
export async function verifyDetached(data, signature, trust, revocations = NO_REVOCATIONS, now = Date.now()) {
  const text = signature.trim();
  if (!BASE64_64.test(text)) throw new PackKeyError("kernels.json.sig must hold 64 bytes in base64; sign the pack again");
  const able = [...trust.keys.values()].filter((key) => !objections(key, revocations, SIGN_KERNELS, [[now, "now"]]).length);
  if (!able.length) {
    throw new NoTrustedKey('no key in trust.json may "sign-kernels" now; build the site again or renew the key');
  }
  for (const key of able) {
    if (await verifyEd25519(key.publicKey, fromBase64(text), data)) return key.keyId;
  }
  const keys = able.map((key) => key.keyId);
  throw new InvalidSignature(`the signature of kernels.json fits none of the keys ${keys.join(", ")}; fetch it again`, { keys });
}

// --- judgements: each returns the errors it would raise

/**
 * The key of `trust` whose `signature` (in the form of SIGNATURE) covers the bytes `payload`. Raises a TrustError.
 * @param {Uint8Array} payload @param {any} signature @param {Trust} trust @param {Revocations} revocations
 * @param {string} capability @param {number} now
 * @returns {Promise<Key>}
 */
export async function checkSignature(payload, signature, trust, revocations, capability, now) {
  const name = signature.keyId;
  const key = trust.keys.get(name);
  if (!key) throw new KeyUntrusted(`signed by the key ${name}, which is not in this site's trust.json`, { keyId: name });
  if (!(await verifyEd25519(key.publicKey, fromBase64(signature.value), payload))) {
    const text = `the signature by the key ${name} does not fit the content; fetch it again from the publisher`;
    throw new SignatureInvalid(text, { keyId: name });
  }
  raiseFirst(objections(key, revocations, capability, [[milliseconds(signature.timestamp), "when it signed"], [now, "now"]]));
  return key;
}

/** @param {Key} key @param {Revocations} revocations @param {string} capability @param {[number, string][]} moments */
function objections(key, revocations, capability, moments) {
  /** @type {EdgeNetError[]} */
  const found = keyRevoked(key.keyId, revocations);
  if (!key.capabilities.includes(capability)) {
    const text = `the key ${key.keyId} is trusted for [${key.capabilities.join(", ")}], not for "${capability}"`;
    found.push(new KeyIncapable(text, { keyId: key.keyId, capability }));
  }
  return [...found, ...moments.flatMap(([moment, when]) => keyDates(key, moment, when))];
}

/** @param {string | null} name @param {Revocations} revocations */
function keyRevoked(name, revocations) {
  if (name === null || !revocations.keys.includes(name)) return [];
  return [new KeyRevoked(`the key ${name} was revoked; get a version signed by another key`, { keyId: name })];
}

/** @param {Key} key @param {number} moment @param {string} when */
function keyDates(key, moment, when) {
  const dates = `the key ${key.keyId} is valid from ${timeText(key.notBefore)} to ${timeText(key.notAfter)}`;
  const text = `${dates}, but ${when} is ${timeText(moment)}; check the clock or renew the key`;
  if (moment < key.notBefore) return [new KeyNotYetValid(text, { keyId: key.keyId })];
  return moment > key.notAfter ? [new KeyExpired(text, { keyId: key.keyId })] : [];
}

/** @param {any} manifest @param {Revocations} revocations */
function withdrawn({ id, version }, revocations) {
  if (!revocations.manifests.some((entry) => entry.id === id && entry.version === version)) return [];
  return [new ManifestRevoked(`${id} ${version} was withdrawn by its publisher; use another version`, { id })];
}

/** @param {any} manifest @param {number} now */
function outlived({ id, version, expiresAt }, now) {
  if (expiresAt === undefined || now <= milliseconds(expiresAt)) return [];
  return [new ManifestExpired(`the manifest of ${id} ${version} expired at ${expiresAt}; get a newer version`, { id, expiresAt })];
}

/** @param {any} signature @param {string} what */
function requireSignature(signature, what) {
  if (signature) return signature;
  throw new SignatureMissing(`${what}: expected a signature, found none; get it from the publisher`);
}

/** @param {EdgeNetError[]} errors */
function raiseFirst([error]) {
  if (error) throw error;
}
