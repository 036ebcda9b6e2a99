/** Whom this site believes about kernels: its trust.json and the revocations that the loader accepted last. Page and worker. */
import { documentKey, readKey } from "../loader/store.js";
import { NO_REVOCATIONS, acceptRevocations, parseRevocations, parseTrust } from "../trust/trust.js";

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

/** The document, or null: offline, what the loader kept counts. @param {string} url */
async function text(url) {
  try {
    const answer = await fetch(url);
    return answer.ok ? await answer.text() : null;
  } catch {
    return null;
  }
}
