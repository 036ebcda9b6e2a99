/**
 * A model of the user's own: GGUF files, dropped or by their address, or the files of an ONNX decoder. Page. It becomes an unsigned manifest and
 * what its worker loads. Python compiles a GGUF's header the first time; the result is remembered, so the next time needs no Python.
 */
import { del, entries, get, set } from "idb-keyval";
import { durableStore } from "../loader/durable.js";
import { sha256, toHex } from "../trust/bytes.js";
import { CHUNK_SIZE, chunkCount, leafHash, merkleRoot } from "../trust/merkle.js";
import { blobAt, openUrl } from "./download.js";
import { InvalidOption } from "./errors.js";
import { withRanges } from "./ranges.js";
import { VERSION } from "./version.js";

/** @typedef {import("../workers/rpc.js").CallOptions} CallOptions @typedef {{name: string, size: number, read: (offset: number, length: number) => Promise<Uint8Array>}} Readable */
/** @typedef {{program: any, tokenizer: any, generation: any, names: string[]}} Compiled `names`: files in the order of the Program's artifacts @typedef {Compiled & {root: string, at: number}} Remembered `root` of the weights; `at` in ms */
/** @typedef {(args: any, options: CallOptions) => Promise<Compiled | {wanted: [string, number, number]}>} Compile Python: the answer, or the range of a file that it must see first */
/** @typedef {ReturnType<typeof durableStore>} Store @typedef {{store: Store, context?: number, compile: Compile, signal?: AbortSignal, onEvent: (event: any) => void}} How */
/** @typedef {{manifest: any, load: {files: Record<string, Blob>, program?: any, tokenizer?: any, generation?: any}}} LocalModel */

const DATABASE = "edgenet-local-v1";
/** Compiled models remembered; a tokenizer can be 10 MB. */
const REMEMBERED = 8;
/** Where compiled models are remembered; opens nothing yet. */
export const localStore = () => durableStore(DATABASE, "models");

/**
 * @param {import("./session.js").LocalSource} source
 * @param {How} how @returns {Promise<LocalModel>} @throws InvalidOption, InvalidGguf, ProgramTooLarge
 */
export async function prepareLocal(source, how) {
  const given = /** @type {any} */ (source);
  if (given.url !== undefined) return fromUrl(new URL(given.url, globalThis.document?.baseURI).href, how);
  const files = given.file instanceof Blob ? { [sourceName(given)]: given.file } : given.files && byPath(given.files);
  const paths = Object.keys(files ?? {});
  if (paths.some((path) => path.endsWith(".onnx"))) return fromFolder(files);
  if (paths.length && (given.file || paths.every((path) => path.endsWith(".gguf")))) return fromFiles(files, how);
  throw new InvalidOption("A model is an id of the site, {file: a GGUF file}, {url: the address of one}, or {files: all parts of one, or those of an ONNX decoder's folder}.", { found: paths.length ? paths : Object.keys(given) });
}

/** What a person reads of where it came from. @param {any} source @returns {string} */
export const sourceName = ({ file, name, url }) => name ?? file?.name ?? (url ? new URL(url, globalThis.document?.baseURI).pathname.split("/").pop() : "local model");

/** Files are known again by name, size and time of their last change. @param {Record<string, Blob & {lastModified?: number}>} files by name @param {How} how @returns {Promise<LocalModel>} */
async function fromFiles(files, how) {
  const list = Object.entries(files);
  const dated = list.every(([, { lastModified }]) => lastModified !== undefined);
  const key = dated ? [...list.map(([name, { size, lastModified }]) => [name, size, lastModified]), how.context, VERSION].join(":") : null;
  const known = await recall(key, how.store);
  if (known) return localModel(files, known);
  const readable = list.map(([name, file]) => ({ name, size: file.size, read: blobAt(file) }));
  return named(files, compiledFrom(readable, how), key, how);
}

/**
 * Of an address the header comes first: a model that does not fit is refused before its weights are fetched. It is known again by address, size and
 * the date or mark that its server gives it. @param {string} url @param {How} how @returns {Promise<LocalModel>}
 */
async function fromUrl(url, how) {
  const name = sourceName({ url });
  const remote = await openUrl(url, how.signal);
  const key = remote.stamp ? [url, remote.stamp, how.context, VERSION].join(":") : null;
  const known = await recall(key, how.store);
  const early = known || remote.size === null ? null : await compiledFrom([{ name, size: remote.size, read: remote.read }], how);
  const file = await remote.download((loaded, total) => how.onEvent({ status: "progress", phase: "download", file: name, loaded, total }));
  if (known) return localModel({ [name]: file }, known);
  return named({ [name]: file }, early ?? compiledFrom([{ name, size: file.size, read: blobAt(file) }], how), key, how);
}

/** Named by its content, which is hashed while Python compiles, and remembered. @param {Record<string, Blob>} files @param {Compiled | Promise<Compiled>} compiled @param {string | null} key @param {How} how */
async function named(files, compiled, key, how) {
  const failed = new AbortController();
  const signal = how.signal ? AbortSignal.any([how.signal, failed.signal]) : failed.signal;
  const both = Promise.all([compiled, rootOf(new Blob(Object.values(files)), { ...how, signal })]);
  const [made, root] = await both.catch((error) => { failed.abort(); throw error; });
  const fresh = { ...made, root, at: Date.now() };
  if (key) await remember(key, fresh, how.store);
  return localModel(files, fresh);
}

/** A browser without storage remembers nothing. @param {string | null} key @param {Store} store @returns {Promise<Remembered | undefined>} */
const recall = async (key, store) => (key ? get(key, store).catch(() => undefined) : undefined);

/** @param {Record<string, Blob>} files by path below the folder @returns {Promise<LocalModel>} */
async function fromFolder(files) {
  const config = files["config.json"] && JSON.parse(await files["config.json"].text());
  if (!config) throw new InvalidOption("An ONNX decoder's folder needs config.json beside its onnx/ folder; it was not among the files given.", { found: Object.keys(files) });
  const size = Object.values(files).reduce((sum, file) => sum + file.size, 0);
  const digest = toHex(await sha256(new TextEncoder().encode(JSON.stringify([config, Object.entries(files).map(([path, file]) => [path, file.size])]))));
  const artifacts = Object.fromEntries(Object.entries(files).map(([path, file], i) => [`file${i}`, { filename: path, size: file.size }]));
  const name = config._name_or_path || config.model_type || "ONNX decoder";
  const manifest = { schemaVersion: 1, id: `local-${digest.slice(0, 12)}`, name, version: "1", type: "text-generation", artifacts, optimization: { format: "onnx", optimizedSize: size }, sources: [] };
  return { manifest, load: { files } };
}

/** @param {Record<string, Blob>} files @param {Remembered} made @returns {LocalModel} */
function localModel(files, { program, tokenizer, generation, names, root }) {
  const type = program.buffers.some((/** @type {any} */ buffer) => buffer.name === "embedding") ? "embedding" : "text-generation";
  const parts = names.map((name, i) => /** @type {const} */ ([i ? `model-${i + 1}` : "model", name, files[name]]));
  const artifacts = Object.fromEntries(parts.map(([artifact, filename, { size }]) => [artifact, { filename, size }]));
  const manifest = {
    schemaVersion: 1, id: `local-${root.slice(0, 12)}`, name: generation.name || names[0], version: "1", type, family: generation.architecture, sources: [],
    artifacts: { ...artifacts, program: { filename: "program.json" } },
    optimization: { format: "gguf", quantization: generation.quantization, optimizedSize: parts.reduce((sum, [, , { size }]) => sum + size, 0) },
    merkleRoot: root,
  };
  return { manifest, load: { files: Object.fromEntries(parts.map(([artifact, , file]) => [artifact, file])), program, tokenizer, generation } };
}

/** Python wants to see headers in growing windows, then perhaps a few short tensors. @param {Readable[]} files @param {How} how @returns {Promise<Compiled>} */
async function compiledFrom(files, { context, compile, signal, onEvent }) {
  onEvent({ status: "progress", phase: "compile", file: files[0].name });
  const read = (/** @type {string} */ name, /** @type {number} */ offset, /** @type {number} */ length) => /** @type {Readable} */ (files.find((one) => one.name === name)).read(offset, length);
  return withRanges((ranges) => compile({ files: files.map(({ name, size }) => [name, size]), ranges, context }, { signal, onEvent }), read);
}

/** Content identity: the Merkle root over chunks of 1 MiB, as a manifest has it; of several files, over one after the other. @param {Blob} file @param {{signal?: AbortSignal, onEvent: (event: any) => void}} how */
async function rootOf(file, { signal, onEvent }) {
  const leaves = [];
  for (let i = 0; i < chunkCount(file.size, CHUNK_SIZE); i++) {
    signal?.throwIfAborted();
    const chunk = await file.slice(i * CHUNK_SIZE, (i + 1) * CHUNK_SIZE).arrayBuffer();
    const prefixed = new Uint8Array(1 + chunk.byteLength);
    prefixed.set(new Uint8Array(chunk), 1);
    leaves.push(await leafHash(prefixed));
    if (i % 16 === 15) onEvent({ status: "progress", phase: "verify", loaded: (i + 1) * CHUNK_SIZE, total: file.size });
  }
  return toHex(await merkleRoot(leaves));
}

/** The oldest beyond the limit are forgotten. A store that refuses costs the next time a compile, no more. @param {string} key @param {Remembered} made @param {Store} store */
async function remember(key, made, store) {
  try {
    await set(key, made, store);
    const all = /** @type {[string, Remembered][]} */ (await entries(store));
    const old = all.sort(([, a], [, b]) => b.at - a.at).slice(REMEMBERED);
    await Promise.all(old.map(([known]) => del(known, store)));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

/** A dropped folder's files by path below it. @param {any} files @returns {Record<string, Blob>} */
export function byPath(files) {
  if (typeof files[Symbol.iterator] !== "function") return files;
  const rows = [...files].map((file) => [file.webkitRelativePath?.split("/").slice(1).join("/") || file.name, file]);
  return Object.fromEntries(rows);
}
