/** Whom this site believes about kernels and adapters: its trust.json and the revocations that the loader accepted last. Page and worker. */
import { documentKey, readKey } from "../loader/store.js";
import { KeyUntrusted } from "../sdk/errors.js";
import { NO_REVOCATIONS, SIGN_ADAPTER, acceptRevocations, checkSignature, parseRevocations, parseTrust } from "../trust/trust.js";

/**
 * @param {{trust: string, revocations: string}} urls
 * @returns {Promise<{trust: import("../trust/trust.js").Trust, revocations: import("../trust/trust.js").Revocations}>}
 */
export async function siteTrust(urls) {
  const stored = await readKey(documentKey("revocations", urls.revocations)).catch(() => null);
  const previous = stored ? parseRevocations(stored) : NO_REVOCATIONS;
  const trust = await parseTrust(await text(urls.trust) ?? await readKey(documentKey("trust", urls.trust)));
  const fresh = await text(urls.revocations);
  const revocations = fresh === null ? previous : await acceptRevocations(fresh, trust, previous).catch(() => previous); // an unusable list changes nothing
  return { trust, revocations };
}

/**
 * Who vouches for an adapter. A key that the site does not know counts as none: whoever can change a file can also take its signature away.
 * @param {{trust: string, revocations: string}} urls @param {{payload: Uint8Array, signature: any}} signed as `lora/signature.py` says @param {number} [now]
 * @returns {Promise<{keyId: string}>} "" for none @throws SignatureInvalid, KeyRevoked, KeyIncapable, KeyExpired, KeyNotYetValid
 */
export async function signedBy(urls, { payload, signature }, now = Date.now()) {
  const { trust, revocations } = await siteTrust(urls);
  const key = await checkSignature(payload, signature, trust, revocations, SIGN_ADAPTER, now).catch((error) => {
    if (error instanceof KeyUntrusted) return { keyId: "" };
    throw error;
  });
  return { keyId: key.keyId };
}

/** The document, or null: offline, what the loader kept counts. @param {string} url */
async function text(url) {
  try {
    const answer = await fetch(url);
    return answer.ok ? await answer.text() : null;
  } catch {
    return null;
  }
}
