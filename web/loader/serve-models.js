/**
 * Answers `models/<id>/<version>/<file>` with `Range`, from the store where it has the chunks; the others are fetched and verified one by
 * one and passed on. Runs in the service worker only. It writes nothing: the loader worker is the only writer.
 */
import { EdgeNetError } from "../sdk/errors.js";
import { chunkLength } from "../trust/merkle.js";
import { fetchChunks } from "./fetcher.js";
import { loadLeaves } from "./pull.js";
import { covering, hasBit, parseRange } from "./ranges.js";
import { candidates } from "./sources.js";
import { openArtifact, readArtifactRecord } from "./store.js";

const BATCH = 8; // chunks fetched at once: what a slow reader may leave in memory

/**
 * @param {Request} request @param {string} path "<id>/<version>/<file>"
 * @param {ReturnType<typeof import("./catalog.js").makeCatalog>} catalog @param {import("./pull.js").Setting} setting
 * @returns {Promise<Response | null>} null: not an artifact of a known model; ask the network
 */
export async function modelResponse(request, path, catalog, setting) {
  const [id, version, ...rest] = decoded(path).split("/");
  const filename = rest.join("/");
  if (!version || !filename || filename === "manifest.json") return manifestResponse(request, id, version, filename, catalog);
  try {
    const stored = await catalog.storedRecord(id, version);
    const { record } = stored ? await catalog.judge(stored) : await catalog.accepted({ id, version });
    const artifact = Object.values(record.manifest.artifacts).find((entry) => entry.filename === filename);
    return artifact ? await artifactResponse(request, record, artifact, setting) : null;
  } catch (error) {
    return failure(error);
  }
}

/** @param {string} path of an address */
function decoded(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // a lone percent sign: no name of ours
  }
}

/** The manifest from the network, else the accepted one. */
async function manifestResponse(request, id, version, filename, catalog) {
  if (filename !== "manifest.json") return null;
  try {
    return await fetch(request);
  } catch (error) {
    const record = await catalog.storedRecord(id, version);
    if (!record) throw error;
    return new Response(JSON.stringify(record.manifest), { headers: { "Content-Type": "application/json" } });
  }
}

/** What could not be verified or found is an error, never unverified bytes. */
function failure(error) {
  const code = error instanceof EdgeNetError ? error.code : "internal";
  return new Response(JSON.stringify({ code, message: error.message }), { status: 502, headers: { "Content-Type": "application/json" } });
}

async function artifactResponse(request, record, artifact, setting) {
  const { size, merkleRoot } = artifact;
  const range = parseRange(request.headers.get("Range"), size);
  const common = { "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", ETag: `"${merkleRoot}"` };
  if (range === "unsatisfiable") return new Response(null, { status: 416, headers: { ...common, "Content-Range": `bytes */${size}` } });
  const { from, to } = range ?? { from: 0, to: size };
  const headers = { ...common, "Content-Length": String(to - from), ...(range && { "Content-Range": `bytes ${from}-${to - 1}/${size}` }) };
  if (request.method === "HEAD") return new Response(null, { status: range ? 206 : 200, headers });
  const chunks = await chunkReader(record, artifact, setting);
  const first = await chunks.next(from, to); // before the head is sent, so that a model that cannot be had is an error
  return new Response(bodyOf(chunks, first, from, to), { status: range ? 206 : 200, headers });
}

function bodyOf(chunks, first, from, to) {
  let offset = from;
  let ready = first;
  return new ReadableStream({
    async pull(controller) {
      if (offset >= to) return controller.close();
      const bytes = ready ?? (await chunks.next(offset, to));
      ready = null;
      offset += bytes.length;
      controller.enqueue(bytes);
    },
    cancel: () => chunks.stop(),
  });
}

/** next(offset, to) → the bytes from `offset` to the end of its chunk or `to`. */
async function chunkReader(record, artifact, setting) {
  const { size, chunkSize, merkleRoot: root } = artifact;
  const stored = await readArtifactRecord(root);
  let reader = stored ? await openArtifact(root, { partial: true }).catch(() => null) : null;
  const fetched = new Map();
  const stop = new AbortController();
  let leaves;

  async function chunk(i, last) {
    if (reader && stored && hasBit(stored.have, i)) {
      const bytes = await reader.read(i * chunkSize, chunkLength(size, chunkSize, i)).catch(() => null);
      if (bytes) return bytes;
      reader = null; // removed or being repaired meanwhile
    }
    if (!fetched.has(i)) await fetchBatch(i, last);
    const bytes = fetched.get(i);
    fetched.delete(i);
    return bytes;
  }
  async function fetchBatch(first, last) {
    const wanted = [];
    for (let i = first; i <= last && wanted.length < BATCH && !(reader && stored && hasBit(stored.have, i)); i++) wanted.push(i);
    leaves ??= await loadLeaves(record, artifact, setting, stop.signal);
    const sources = candidates(record.manifest, artifact, record.url, setting.prefer);
    const onChunk = (index, bytes) => void fetched.set(index, bytes);
    await fetchChunks({ ...setting, size, chunkSize, leaves, sources, signal: stop.signal, onChunk }, wanted);
  }
  return {
    async next(offset, to) {
      const { first, last } = covering({ from: offset, to }, chunkSize);
      const bytes = await chunk(first, last);
      return bytes.subarray(offset - first * chunkSize, Math.min(bytes.length, to - first * chunkSize));
    },
    stop: () => stop.abort(),
  };
}
