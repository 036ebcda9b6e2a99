/**
 * One-file backup: documents, their vectors and what was taught, as JSON. Pure apart from the library it reads and fills; runs in the page and in Node.
 * A file is checked whole before the first write, and restoring only adds: nothing that is there is overwritten.
 *
 *   {"format": "edgenet-backup", "version": 1, "createdAt": RFC 3339, "model": "id@version" | null, "dimensions": 384,
 *    "documents": [{…Document, "text", "vectors": base64 of float32 little-endian n×dim, or null}], "teaching": base64 | null}
 */
import { BackupInvalid } from "../../sdk/errors.js";
import { hashText } from "./hash.js";
import { concat, rowsOf } from "./vectors.js";

const FORMAT = "edgenet-backup";
const VERSION = 1;
const TYPES = new Set(["txt", "md", "html"]);

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

/** @param {string} text @returns {Uint8Array} @throws {DOMException} when it is not base64 */
export const fromBase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/**
 * The backup as parts for a Blob, document by document, so that no single string holds everything.
 * @param {import("./library.js").Library} library
 * @param {{dimensions: number, teaching: Uint8Array | null, createdAt: string}} about
 * @returns {AsyncGenerator<string>}
 */
export async function* backupParts(library, { dimensions, teaching, createdAt }) {
  const model = library.documents.find((document) => document.model)?.model ?? null;
  yield (
    JSON.stringify({ format: FORMAT, version: VERSION, createdAt, model, dimensions, teaching: teaching && toBase64(teaching) }).slice(
      0,
      -1,
    ) + ',"documents":['
  );
  let comma = "";
  for (const { before, left, error, ...document } of library.documents) {
    const rows = document.state === "ready" ? rowsOf(await library.vectors(document.id), dimensions) : new Map();
    const vectors = rows.size ? toBase64(new Uint8Array(concat(document.passages.map((_, row) => rows.get(row))).buffer)) : null;
    yield comma + JSON.stringify({ ...document, text: await library.text(document.id), vectors });
    comma = ",\n";
  }
  yield "]}\n";
}

/**
 * Reads and checks a backup whole. @param {string} json
 * @returns {Promise<{model: string|null, dimensions: number, teaching: Uint8Array|null, documents: object[]}>}
 * @throws {BackupInvalid} naming the first thing that is wrong
 */
export async function readBackup(json) {
  const refuse = (found, details = {}) => {
    throw new BackupInvalid(
      `This is not a backup that can be restored: ${found}. Nothing was changed. Choose a file saved by "Save a backup".`,
      { found, ...details },
    );
  };
  let data;
  try {
    data = JSON.parse(json);
  } catch {
    refuse("the file is not JSON, or it was cut off");
  }
  if (data?.format !== FORMAT) refuse('it lacks the mark of an EdgeNet backup ("format")');
  if (data.version !== VERSION) refuse(`it has format version ${JSON.stringify(data.version)}, and this page reads version ${VERSION}`);
  if (!Array.isArray(data.documents)) refuse("it has no list of documents");
  if (!Number.isInteger(data.dimensions) || data.dimensions < 1) refuse("the size of its vectors is missing");
  const documents = [];
  for (const [i, document] of data.documents.entries())
    documents.push(await checkDocument(document, data.dimensions, (found) => refuse(`document ${i + 1}: ${found}`, { document: i })));
  return {
    model: data.model ?? null,
    dimensions: data.dimensions,
    teaching: decoded(data.teaching, () => refuse("what was taught cannot be read")),
    documents,
  };
}

function decoded(text, refuse) {
  if (text === null || text === undefined) return null;
  try {
    return fromBase64(text);
  } catch {
    return refuse();
  }
}

async function checkDocument(document, dimensions, refuse) {
  const { id, name, type, text, hash, addedAt, passages, vectors, notes } = document ?? {};
  if (typeof id !== "string" || typeof name !== "string" || !name || typeof text !== "string") refuse("id, name or text is missing");
  if (!TYPES.has(type) || !Number.isFinite(addedAt)) refuse(`"${name}" has an unknown type or date`);
  if (hash !== (await hashText(text))) refuse(`the text of "${name}" does not fit its checksum`);
  const clean = { id, name, type, text, hash, addedAt, size: text.length, notes: Array.isArray(notes) ? notes.map(String) : [] };
  if (!vectors || !Array.isArray(passages)) return { ...clean, passages: null, vectors: null };
  const bytes = decoded(vectors, () => refuse(`the vectors of "${name}" cannot be read`));
  if (bytes.length !== passages.length * dimensions * 4)
    refuse(`"${name}" has ${passages.length} passages but vectors for ${bytes.length / dimensions / 4}`);
  const values = new Float32Array(bytes.buffer);
  if (!values.every(Number.isFinite)) refuse(`the vectors of "${name}" hold values that are not numbers`);
  for (const { start, end, hash: words } of passages) {
    if (!(start >= 0 && end > start && end <= text.length) || words !== (await hashText(text.slice(start, end))))
      refuse(`a passage of "${name}" does not fit its text`);
  }
  return { ...clean, passages, vectors: values };
}

/**
 * Adds what the library lacks, in one transaction. Documents whose text is there already are left alone; a taken id or name gets a new one.
 * @param {import("./library.js").Library} library @param {Awaited<ReturnType<typeof readBackup>>} backup @param {string} model the one loaded now
 * @returns {Promise<{added: number, present: number, reindex: number}>}
 */
export async function restoreBackup(library, backup, model) {
  const hashes = new Set(library.documents.map((document) => document.hash));
  const names = new Set(library.documents.map((document) => document.name));
  const fresh = backup.documents.filter((document) => !hashes.has(document.hash));
  const usable = backup.model === model;
  const operations = [],
    documents = [];
  for (const { text, vectors, ...document } of fresh) {
    const id = library.all.has(document.id) ? library.newId() : document.id;
    const ready = usable && vectors;
    documents.push({
      ...document,
      id,
      name: freeName(document.name, names),
      state: ready ? "ready" : "waiting",
      passages: ready ? document.passages : null,
      before: null,
      left: 0,
      ...(ready && { model }),
    });
    operations.push({ put: "texts", key: id, value: text });
    if (ready) operations.push({ put: "vectors", key: [id, 0], value: vectors });
  }
  await library.save(documents, operations);
  return {
    added: documents.length,
    present: backup.documents.length - fresh.length,
    reindex: documents.filter(({ state }) => state === "waiting").length,
  };
}

function freeName(name, taken) {
  for (let n = 1, candidate = name; ; candidate = `${name} (restored${n > 1 ? ` ${n}` : ""})`, n++) {
    if (taken.has(candidate)) continue;
    taken.add(candidate);
    return candidate;
  }
}
