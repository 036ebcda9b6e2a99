/**
 * Turns waiting documents into passages and vectors, in small batches across documents, saving each batch before the next: a killed
 * tab loses at most one batch. Runs in the page; the model is reached through `engine`, so Node can test it.
 * A document that cannot be indexed is set aside with its reason and never holds up the others.
 */
import { AbortError, EdgeNetError, OutputNotFinite } from "../../sdk/errors.js";
import { missingPassages } from "./passages.js";
import { concat, runs } from "./vectors.js";

/** Passages per call of the model: small, so that a search typed meanwhile waits well under a second. */
const BATCH = 8;
/** Failures of the machinery: the document is innocent and goes on waiting. */
const NOT_THE_DOCUMENTS_FAULT = new Set([
  "aborted",
  "worker_died",
  "disposed",
  "no_model",
  "engine_deadline",
  "quota_exceeded",
  "storage",
  "storage_unavailable",
]);

/**
 * @typedef {object} Engine
 * @property {string} model what the vectors belong to, `id@version`
 * @property {(text: string) => Promise<{start: number, end: number}[]>} split
 * @property {(texts: string[], options: {signal?: AbortSignal}) => Promise<Float32Array[]>} embedBatch
 * @property {() => Promise<void>} [quiet] resolves when nobody waits for a search
 * @typedef {{id: string, hash: string, row: number, text: string}} Item one passage to embed
 */

/**
 * Indexes until nothing waits; documents added meanwhile are taken too.
 * @param {import("./library.js").Library} library
 * @param {Engine} engine
 * @param {{signal?: AbortSignal, onProgress?: (p: {done: number, of: number, share: number, passages: number, name: string}) => void}} [options] documents, share of all work 0 to 1, passages
 * @returns {Promise<{done: number, passages: number}>} what this run did
 * @throws {AbortError} when cancelled; everything finished is kept
 */
export async function indexWaiting(library, engine, { signal, onProgress = () => {} } = {}) {
  const seen = new Set();
  const run = { passages: 0 };
  const unseen = () => shortest(library.waiting.filter((document) => !seen.has(keyOf(document))));
  const done = () => seen.size - library.waiting.filter((document) => seen.has(keyOf(document))).length;
  const tell = (name) => {
    const finished = done();
    const of = finished + library.waiting.length;
    onProgress({ done: finished, of, share: (finished + library.waiting.reduce((sum, d) => sum + shareRead(d), 0)) / (of || 1), passages: run.passages, name });
  };
  const batch = [];
  for (let document; (document = unseen()); tell(document.name)) {
    seen.add(keyOf(document));
    for (const item of await passagesOrSetAside(library, engine, document)) {
      if (batch.push(item) < BATCH) continue;
      run.passages += await settle(library, engine, batch.splice(0), signal);
      tell(document.name);
    }
    if (!unseen() && batch.length) run.passages += await settle(library, engine, batch.splice(0), signal);
  }
  return { done: done(), passages: run.passages };
}

/** How much of a waiting document has its vectors already, 0 to 1: one long document must not look like none at all. */
export const shareRead = ({ passages, left }) => (passages?.length && left !== undefined ? 1 - left / passages.length : 0);

/** The short ones first: a book among notes must not keep the notes from being found for an hour. */
const shortest = (documents) => documents.reduce((best, document) => (best && best.size <= document.size ? best : document), undefined);

const keyOf = ({ id, hash }) => `${id}:${hash}`;

async function passagesOrSetAside(library, engine, document) {
  try {
    return await missingPassages(library, engine, document);
  } catch (error) {
    await setAside(library, document, error);
    return [];
  }
}

/** Embeds and saves a batch; if it fails, document by document, so that only the culprit is set aside. */
async function settle(library, engine, items, signal) {
  if (signal?.aborted) throw new AbortError("Indexing was stopped. What was finished is kept; the rest goes on when you continue.", {});
  await engine.quiet?.();
  try {
    return await embedAndSave(library, engine, items, signal);
  } catch (error) {
    if (NOT_THE_DOCUMENTS_FAULT.has(error?.code) || signal?.aborted) throw error;
  }
  let saved = 0;
  for (const group of byDocument(items)) {
    try {
      saved += await embedAndSave(library, engine, group, signal);
    } catch (error) {
      await setAside(library, group[0], error);
    }
  }
  return saved;
}

/** Vectors and the documents they complete go down in one transaction. */
async function embedAndSave(library, engine, items, signal) {
  const vectors = await engine.embedBatch(
    items.map(({ text }) => text),
    { signal },
  );
  refuseNotFinite(vectors, items);
  const groups = new Map(byDocument(items.map((item, i) => ({ ...item, vector: vectors[i] }))).map((group) => [group[0].id, group]));
  await library.amend([...groups.keys()], (stored) => completed(stored, groups.get(stored.id), engine.model));
  return items.length;
}

/** A document with vectors of its passages; null when it was deleted or replaced, in any tab, while the model worked. */
function completed(stored, group, model) {
  if (stored.deletedAt || stored.hash !== group[0].hash) return null;
  const left = stored.left - group.length;
  const operations = runs(group).map((rows) => ({
    put: "vectors",
    key: [stored.id, rows[0].row],
    value: concat(rows.map(({ vector }) => vector)),
  }));
  return { document: { ...stored, left, model, state: left ? "waiting" : "ready" }, operations };
}

function refuseNotFinite(vectors, items) {
  const bad = vectors.findIndex((vector) => !vector.every(Number.isFinite));
  if (bad < 0) return;
  const { row } = items[bad];
  throw new OutputNotFinite(
    `The model answered with values that are not numbers for passage ${row + 1}. Nothing of it was stored. Verify the model in the Models tab, then try this document again.`,
    { row },
  );
}

/** @param {import("./library.js").Library} library @param {{id: string, hash: string}} which @param {any} error */
async function setAside(library, { id, hash }, error) {
  if (NOT_THE_DOCUMENTS_FAULT.has(error?.code)) throw error;
  const { code, message } = error instanceof EdgeNetError ? error : { code: "internal", message: String(error?.message ?? error) };
  await library.amend([id], (stored) =>
    stored.deletedAt || stored.hash !== hash ? null : { document: { ...stored, state: "failed", error: { code, message } } },
  );
}

/** Items grouped by document, order kept. @param {Item[]} items */
const byDocument = (items) => {
  const groups = new Map();
  for (const item of items) groups.set(item.id, [...(groups.get(item.id) ?? []), item]);
  return [...groups.values()];
};
