/**
 * Where an artifact's bytes can be fetched from: one row per source type, best first. No source is ever trusted. Runs anywhere.
 */

/**
 * @typedef {{type: string, url: string, priority: number}} Candidate
 * @typedef {{filename: string, cid?: string}} Artifact
 */

/** type → (source, artifact, manifest's own URL) → URLs. A type that is not here is skipped: a newer manifest may name it. */
const TYPES = {
  cdn: baseUrl,
  http: baseUrl,
  gcs: baseUrl,
  fallback: baseUrl,
  ipfs: (source, artifact) => (artifact.cid ? (source.gateways ?? []).map((gateway) => new URL(artifact.cid, gateway).href) : []),
};

function baseUrl(source, artifact, manifestUrl) {
  const base = new URL(source.baseUrl ?? "./", manifestUrl);
  if (!base.pathname.endsWith("/")) base.pathname += "/"; // else the last segment would be dropped
  return [new URL(artifact.filename.split("/").map(encodeURIComponent).join("/"), base).href];
}

/**
 * Candidates for one artifact, each URL once: by the manifest's priority (1 is best), after the types that the caller prefers.
 * @param {{sources: any[]}} manifest @param {Artifact} artifact @param {string} manifestUrl @param {string[]} [prefer] types, best first
 * @returns {Candidate[]}
 */
export function candidates(manifest, artifact, manifestUrl, prefer = []) {
  const place = ({ type, priority }) => (prefer.includes(type) ? prefer.indexOf(type) - prefer.length : priority);
  const rows = manifest.sources
    .filter((source) => Object.hasOwn(TYPES, source.type))
    .flatMap((source) => TYPES[source.type](source, artifact, manifestUrl)
      .map((url) => ({ type: source.type, url, priority: source.priority ?? 99 })));
  const seen = new Set();
  return rows.sort((a, b) => place(a) - place(b)).filter(({ url }) => !seen.has(url) && seen.add(url));
}
