/**
 * A model of the user's own: a GGUF file, dropped or by its address, or the files of an ONNX decoder. Page. It becomes an unsigned manifest and what
 * its worker loads. Python compiles a GGUF's header the first time; the result is remembered, so the next time needs no Python.
 */
import { del, entries, get, set } from "idb-keyval";
import { durableStore } from "../loader/durable.js";
import { sha256, toHex } from "../trust/bytes.js";
import { CHUNK_SIZE, chunkCount, leafHash, merkleRoot } from "../trust/merkle.js";
import { blobAt, openUrl } from "./download.js";
import { InvalidOption, ModelTooLarge } from "./errors.js";
import { VERSION } from "./version.js";

/** @typedef {import("../workers/rpc.js").CallOptions} CallOptions @typedef {(offset: number, length: number) => Promise<Uint8Array>} Read */
/** @typedef {{program: any, tokenizer: any, generation: any}} Compiled @typedef {Compiled & {root: string, at: number}} Remembered `root` of the weights; `at` in ms */
/** @typedef {(args: any, options: CallOptions) => Promise<Compiled | {wanted: [number, number]}>} Compile Python: the answer, or the range of the file it must see first */
/** @typedef {ReturnType<typeof durableStore>} Store @typedef {{store: Store, context?: number, compile: Compile, signal?: AbortSignal, onEvent: (event: any) => void}} How */
/** @typedef {{manifest: any, load: {files: Record<string, Blob>, program?: any, tokenizer?: any, generation?: any}}} LocalModel */

const DATABASE = "edgenet-local-v1";
/** Compiled models remembered; a tokenizer can be 10 MB. */
const REMEMBERED = 8;
/** Where compiled models are remembered; opens nothing yet. */
export const localStore = () => durableStore(DATABASE, "models");
/** What 32-bit WebAssembly can hold. */
const MEMORY_LIMIT = 65535 * 65536;

/**
 * @param {import("./session.js").LocalSource} source
 * @param {How} how @returns {Promise<LocalModel>} @throws InvalidOption, InvalidGguf, ModelTooLarge
 */
export async function prepareLocal(source, how) {
  const given = /** @type {any} */ (source);
  if (given.url !== undefined) return fromUrl(new URL(given.url, globalThis.document?.baseURI).href, how);
  if (given.file instanceof Blob) return fromFile(given.file, given.name ?? given.file.name ?? "model.gguf", how);
  const files = given.files && byPath(given.files);
  if (files && Object.keys(files).some((path) => path.endsWith(".onnx"))) return fromFolder(files);
  throw new InvalidOption("A model is an id of the site, {file: a GGUF file}, {url: the address of one}, or {files: those of an ONNX decoder's folder}.", { found: Object.keys(given) });
}

/** What a person reads of where it came from. @param {any} source @returns {string} */
export const sourceName = ({ file, name, url }) => name ?? file?.name ?? (url ? new URL(url, globalThis.document?.baseURI).pathname.split("/").pop() : "local model");

/**
 * A file is known again by name, size and time of its last change. @param {Blob & {lastModified?: number}} file @param {string} name @param {How} how
 * @param {Compiled} [compiled] @returns {Promise<LocalModel>}
 */
async function fromFile(file, name, how, compiled) {
  const key = [name, file.size, file.lastModified, how.context, VERSION].join(":");
  const known = await get(key, how.store).catch(() => undefined); // a browser without storage remembers nothing
  if (known) return localModel(name, file, known);
  const [made, root] = await Promise.all([compiled ?? compiledFrom(blobAt(file), file.size, name, how), rootOf(file, how)]);
  const fresh = { ...made, root, at: Date.now() };
  if (file.lastModified !== undefined) await remember(key, fresh, how.store);
  return localModel(name, file, fresh);
}

/** The header first: a model that does not fit is refused before its weights are fetched. @param {string} url @param {How} how @returns {Promise<LocalModel>} */
async function fromUrl(url, how) {
  const name = sourceName({ url });
  const remote = await openUrl(url, how.signal);
  const compiled = remote.size === null ? undefined : await compiledFrom(remote.read, remote.size, name, how);
  const file = await remote.download((loaded, total) => how.onEvent({ status: "progress", phase: "download", file: name, loaded, total }));
  return fromFile(file, name, how, compiled);
}

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

/** @param {string} name @param {Blob} file @param {Remembered} made @returns {LocalModel} */
function localModel(name, file, { program, tokenizer, generation, root }) {
  const type = program.buffers.some((/** @type {any} */ buffer) => buffer.name === "embedding") ? "embedding" : "text-generation";
  const manifest = {
    schemaVersion: 1, id: `local-${root.slice(0, 12)}`, name: generation.name || name, version: "1", type, family: generation.architecture, sources: [],
    artifacts: { model: { filename: name, size: file.size, merkleRoot: root, chunkSize: CHUNK_SIZE }, program: { filename: "program.json" } },
    optimization: { format: "gguf", quantization: generation.quantization, optimizedSize: file.size },
  };
  return { manifest, load: { files: { model: file }, program, tokenizer, generation } };
}

/** Python asks for the ranges it must see, one by one: the header in growing windows, then perhaps a few short tensors. @param {Read} read @param {number} size @param {string} name @param {How} how @returns {Promise<Compiled>} */
async function compiledFrom(read, size, name, { context, compile, signal, onEvent }) {
  onEvent({ status: "progress", phase: "compile", file: name });
  /** @type {[number, Uint8Array][]} */ const parts = [];
  for (;;) {
    const answer = await compile({ size, parts, name, context }, { signal, onEvent });
    if (!("wanted" in answer)) {
      requireFit(answer.program, name);
      return answer;
    }
    const [offset, length] = answer.wanted;
    parts.push([offset, await read(offset, length)]);
  }
}

/** @param {any} program @param {string} name */
function requireFit({ regions, weights }, name) {
  const bytes = [...Object.values(regions), ...weights.map((/** @type {any} */ weight) => weight.bytes)].reduce((sum, n) => sum + n, 0);
  if (bytes <= MEMORY_LIMIT) return;
  throw new ModelTooLarge(`${name} needs ${bytes} bytes of memory; a browser's WebAssembly holds ${MEMORY_LIMIT}. Take a smaller quantization, or a smaller context.`, { needed: bytes, limit: MEMORY_LIMIT });
}

/** Content identity: the Merkle root over chunks of 1 MiB, as a manifest has it. @param {Blob} file @param {{signal?: AbortSignal, onEvent: (event: any) => void}} how */
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
function byPath(files) {
  if (typeof files[Symbol.iterator] !== "function") return files;
  const rows = [...files].map((file) => [file.webkitRelativePath?.split("/").slice(1).join("/") || file.name, file]);
  return Object.fromEntries(rows);
}
