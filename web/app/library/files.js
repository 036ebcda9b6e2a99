/**
 * Files to texts: which files are read, and why others are left out. Runs in the page; how bytes become characters: `text/bytes-to-text.js`.
 * It never guesses silently: replaced bytes, skipped files and stripped mark-up are said.
 */
import { EdgeNetError, TextTooLarge } from "../../sdk/errors.js";
import { decodeText } from "../../text/bytes-to-text.js";
import { htmlToText } from "./html.js";

export const MAX_BYTES = 20_000_000;
const TYPES = { md: "md", markdown: "md", mdown: "md", html: "html", htm: "html", xhtml: "html" };

/** @param {string} name @returns {"txt"|"md"|"html"} */
export const typeOf = (name) => TYPES[name.split(".").at(-1).toLowerCase()] ?? "txt";

/**
 * @param {File} file @param {string} name
 * @returns {Promise<{name: string, type: "txt"|"md"|"html", text: string, notes: string[]}>}
 * @throws {import("../../sdk/errors.js").NotText | TextTooLarge}
 */
export async function readFile(file, name) {
  if (file.size > MAX_BYTES)
    throw new TextTooLarge(
      `"${name}" is ${Math.round(file.size / 1e6)} MB; the limit for one file is ${MAX_BYTES / 1e6} MB. Split it into several files.`,
      { name, size: file.size, limit: MAX_BYTES },
    );
  const { text, replaced } = decodeText(new Uint8Array(await file.arrayBuffer()), name);
  const notes = replaced ? [`${replaced} ${replaced === 1 ? "byte was" : "bytes were"} not valid UTF-8 and shown as \ufffd.`] : [];
  const type = typeOf(name);
  return { name, type, notes, text: type === "html" ? htmlToText(text) : text };
}

/** Folders and files nobody means when they drop a folder. */
const NOISE = /(^|\/)(\.[^/]+|node_modules|__pycache__|Thumbs\.db)(\/|$)/;

/**
 * Every file of a drop or of a picker, with its path inside what was dropped.
 * @param {FileSystemEntry[]} entries @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<{file: File, name: string}>}
 */
export async function* walk(entries, signal) {
  for (const entry of entries) {
    const name = entry.fullPath.replace(/^\//, "");
    if (signal?.aborted || NOISE.test(name)) continue;
    if (entry.isFile) yield { file: await new Promise((resolve, reject) => entry.file(resolve, reject)), name };
    else yield* walk(await listing(entry.createReader()), signal);
  }
}

async function listing(reader) {
  const all = [];
  for (let part; (part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length;) all.push(...part);
  return all.sort((a, b) => a.name.localeCompare(b.name));
}

/** Files of an <input>, with folder paths where it gives them. @param {Iterable<File>} files */
export async function* listed(files) {
  for (const file of files) {
    const name = file.webkitRelativePath || file.name;
    if (!NOISE.test(name)) yield { file, name };
  }
}

/**
 * Adds files one after another; a refused one is listed with its reason and the next goes on.
 * @param {import("./library.js").Library} library
 * @param {AsyncIterable<{file: File, name: string}>} files
 * @param {{signal?: AbortSignal, onProgress?: (report: Report) => void}} [options]
 * @typedef {{read: number, added: number, updated: {name: string, undo: () => Promise<void>}[], same: number, skipped: {name: string, code: string, message: string}[]}} Report
 * @returns {Promise<Report>}
 */
export async function addFiles(library, files, { signal, onProgress = () => {} } = {}) {
  const report = { read: 0, added: 0, updated: [], same: 0, skipped: [] };
  for await (const { file, name } of files) {
    if (signal?.aborted) break;
    try {
      const { outcome, undo } = await library.add(await readFile(file, name));
      if (outcome === "updated") report.updated.push({ name, undo });
      else report[outcome]++;
    } catch (error) {
      if (error?.code === "quota_exceeded") throw error;
      const { code, message } =
        error instanceof EdgeNetError ? error : { code: "not_text", message: `"${name}" could not be read: ${error?.message ?? error}.` };
      report.skipped.push({ name, code, message });
    }
    report.read++;
    onProgress(report);
  }
  return report;
}
