/**
 * Which passages of a document still need a vector: splits it once, keeps the vectors of passages whose words did not change, and finds
 * what a killed tab left unfinished. Runs in the page (and in Node, for tests).
 */
import { hashText } from "./hash.js";
import { concat, rowsOf, runs } from "./vectors.js";

/**
 * @param {import("./library.js").Library} library
 * @param {import("./indexer.js").Engine} engine
 * @param {import("./library.js").Document} document
 * @returns {Promise<import("./indexer.js").Item[]>} in order; empty when the document is complete, or was deleted or replaced meanwhile
 */
export async function missingPassages(library, engine, document) {
  const text = await library.text(document.id);
  const current = document.passages ? document : await splitAndKeep(library, engine, document, text);
  if (!current) return [];
  const have = rowsOf(await library.vectors(document.id), engine.dimensions);
  const missing = current.passages.map((_, row) => row).filter((row) => !have.has(row));
  const state = missing.length ? "waiting" : "ready";
  if (current.left !== missing.length || !missing.length)
    await amendSame(library, document, (stored) => ({ document: { ...stored, left: missing.length, model: engine.model, state } }));
  return missing.map((row) => ({
    id: document.id,
    hash: document.hash,
    row,
    text: text.slice(current.passages[row].start, current.passages[row].end),
  }));
}

/** Changes a document unless it was deleted or replaced, in any tab, since `document` was read. @returns {Promise<any>} undefined then */
async function amendSame(library, { id, hash }, change) {
  const [changed] = await library.amend([id], (stored) => (stored.deletedAt || stored.hash !== hash ? null : change(stored)));
  return changed;
}

/** Splits the text; vectors of equal passages of the version before move to their new rows, all in one transaction. */
async function splitAndKeep(library, engine, document, text) {
  const spans = await engine.split(text);
  const passages = await Promise.all(spans.map(async ({ start, end }) => ({ start, end, hash: await hashText(text.slice(start, end)) })));
  const before = document.before && document.model === engine.model ? await knownVectors(library, engine, document) : new Map();
  const kept = passages.map(({ hash }, row) => ({ row, vector: before.get(hash) })).filter(({ vector }) => vector);
  const split = { passages, before: null, left: passages.length - kept.length, notes: [...document.notes, ...splitNotes(text, passages)] };
  const operations = [
    { delete: "vectors", key: library.vectorsOf(document.id) },
    ...runs(kept).map((rows) => ({ put: "vectors", key: [document.id, rows[0].row], value: concat(rows.map(({ vector }) => vector)) })),
  ];
  return amendSame(library, document, (stored) => ({ document: { ...stored, ...split }, operations }));
}

/** Passage hash → vector of the version before. */
async function knownVectors(library, engine, document) {
  const rows = rowsOf(await library.vectors(document.id), engine.dimensions);
  return new Map(document.before.map(({ hash }, row) => [hash, rows.get(row)]).filter(([, vector]) => vector));
}

/** Says when a paragraph was longer than the model reads at once. */
function splitNotes(text, passages) {
  const inside = passages.filter(({ start }, i) => i && !/\n/.test(text.slice(passages[i - 1].end - 1, start + 1)));
  return inside.length
    ? [
        `Long paragraphs were split at ${inside.length} ${inside.length === 1 ? "place" : "places"}, because the model reads a limited length at once.`,
      ]
    : [];
}
