/**
 * What a GGUF header tells a person before anything is loaded: sizes, mix of types, tokenizer, memory. Runs anywhere.
 * Twin of `pysrc/edgenet/formats/gguf_info.py`, held to the same vectors. What a file lacks is null; only a wrong type is an error.
 */
import { InvalidGguf } from "../sdk/errors.js";
import { FILE_TYPES } from "./types.js";

/** What 32-bit WebAssembly can address, less one page. */
const MEMORY_LIMIT = 2 ** 32 - 65536;
/** What a session is planned for unless it asks otherwise. */
const CONTEXT = 2048, ROWS = 32, WANTED = 4, SEQUENCES = 4, PAGE = 16;

/** File type → [rows, columns, bytes] of one unit of the layout that the engine keeps it in (`kernels/lm/layouts.py`). @type {Record<string, [number, number, number]>} */
export const KEPT = {
  f32: [1, 1, 4], f16: [1, 1, 2], bf16: [1, 1, 2], q4_0: [4, 32, 72], q4_1: [4, 32, 80], q5_0: [4, 32, 96], q5_1: [4, 32, 96],
  q8_0: [4, 32, 136], q4_k: [4, 32, 80], q5_k: [4, 32, 96], q6_k: [4, 32, 112],
};
/** Cache type → bits of a value, and bytes of scale per token and head. @type {Record<string, [number, number]>} */
const KV = { f32: [32, 0], q8: [8, 4], q4: [4, 4] };
/** Metadata kinds by what they are to a reader. @type {Record<string, string[]>} */
const KINDS = { "a whole number": ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"], "a text": ["string"], "an array": [] };
/** Field → key below the architecture. */
const COUNTS = {
  context: "context_length", layers: "block_count", width: "embedding_length", feedForward: "feed_forward_length",
  heads: "attention.head_count", kvHeads: "attention.head_count_kv", headSize: "attention.key_length",
};

/**
 * @typedef {import("./gguf.js").Header} Header
 * @typedef {import("./gguf.js").ArrayValue} ArrayValue
 *
 * @typedef {object} Description
 * @property {string | null} name @property {string | null} architecture @property {number} version @property {number} size
 * @property {number} headerBytes the file's first bytes that a compiler needs @property {number} tensors @property {number} parameters
 * @property {string | null} quantization @property {Record<string, {tensors: number, weights: number, bytes: number}>} types most weights first
 * @property {number | null} context @property {number | null} layers @property {number | null} width @property {number | null} feedForward
 * @property {number | null} heads @property {number | null} kvHeads @property {number | null} headSize @property {number | null} vocabulary
 * @property {string | null} tokenizer @property {string | null} pretokenizer @property {boolean} chatTemplate @property {string | null} license
 */

/** @param {Header} header @returns {Description} @throws {InvalidGguf} where a value that is there has the wrong type */
export function describe(header) {
  const types = mix(header), architecture = text(header, "general.architecture");
  const counts = Object.entries(COUNTS).map(([name, key]) => [name, count(header, `${architecture}.${key}`)]);
  return /** @type {Description} */ ({
    name: text(header, "general.name"),
    architecture,
    version: header.version,
    size: header.size,
    headerBytes: header.dataOffset,
    tensors: header.tensors.size,
    parameters: Object.values(types).reduce((sum, row) => sum + row.weights, 0),
    quantization: fileType(header) ?? Object.keys(types)[0]?.toUpperCase() ?? null,
    types,
    ...Object.fromEntries(counts),
    vocabulary: vocabulary(header),
    tokenizer: text(header, "tokenizer.ggml.model"),
    pretokenizer: text(header, "tokenizer.ggml.pre"),
    chatTemplate: Boolean(text(header, "tokenizer.chat_template")),
    license: text(header, "general.license"),
  });
}

/**
 * Bytes that a session with this model needs, told before anything is loaded; null for a file that does not say its sizes.
 * @param {Header} header
 * @param {{context?: number, kv?: string, sequences?: number}} [options] tokens of one sequence (0: 2048, or the model's if shorter)
 * @returns {{context: number, weights: number, kv: number, work: number, total: number, limit: number} | null} `work` is an estimate
 */
export function memory(header, { context = 0, kv = "f32", sequences = SEQUENCES } = {}) {
  const told = describe(header);
  if (!told.layers || !told.width || !told.heads || !told.context) return null;
  const length = Math.max(PAGE, Math.floor(Math.min(context || CONTEXT, told.context) / PAGE) * PAGE);
  const head = told.headSize || Math.floor(told.width / told.heads), [bits, scale] = KV[kv];
  const page = (told.kvHeads || told.heads) * PAGE * (Math.floor((head * bits) / 8) + scale);
  const parts = {
    weights: [...header.tensors.values()].reduce((sum, tensor) => sum + kept(tensor), 0),
    kv: 2 * told.layers * sequences * (length / PAGE) * page,
    work: 4 * ROWS * (6 * told.width + 3 * (told.feedForward ?? 0) + 2 * told.heads * head) + 8 * WANTED * (told.vocabulary ?? 0),
  };
  return { context: length, ...parts, total: parts.weights + parts.kv + parts.work, limit: MEMORY_LIMIT };
}

/** The value of a key, null if it is not there. @param {Header} header @param {string} key @param {string} wanted @returns {any} */
function get({ metadata, types }, key, wanted) {
  const value = metadata.get(key), found = types.get(key);
  if (found === undefined) return null;
  if (KINDS[wanted].includes(found) || (wanted === "an array" && found.startsWith("["))) return value;
  throw new InvalidGguf(`The metadata must have ${JSON.stringify(key)} as ${wanted}; it is ${found}. The file is damaged.`, { key });
}

/** @param {Header} header @param {string} key @returns {string | null} */
const text = (header, key) => get(header, key, "a text");

/** A count of the architecture; of one given per layer, the largest. @param {Header} header @param {string} key @returns {number | null} */
function count(header, key) {
  const kind = header.types.get(key);
  if (!kind?.startsWith("[")) return get(header, key, "a whole number");
  if (kind !== "[i32]" && kind !== "[u32]") return null;
  const numbers = /** @type {ArrayValue} */ (header.metadata.get(key)).numbers();
  return numbers.length ? numbers.reduce((most, value) => Math.max(most, value)) : null;
}

/** Rows of the token embeddings, or the number of tokens. @param {Header} header @returns {number | null} */
function vocabulary(header) {
  const embeddings = header.tensors.get("token_embd.weight");
  if (embeddings?.shape.length === 2) return embeddings.shape[0];
  return get(header, "tokenizer.ggml.tokens", "an array")?.count ?? null;
}

/** @param {Header} header @returns {string | null} */
function fileType({ metadata, types }) {
  return KINDS["a whole number"].includes(types.get("general.file_type") ?? "") ? FILE_TYPES[/** @type {number} */ (metadata.get("general.file_type"))] ?? null : null;
}

/** Type → how many tensors, weights and bytes have it; the type of most weights first. @param {Header} header @returns {Description["types"]} */
function mix(header) {
  /** @type {Description["types"]} */
  const rows = {};
  for (const { type, shape, bytes } of header.tensors.values()) {
    const row = (rows[type] ??= { tensors: 0, weights: 0, bytes: 0 });
    row.tensors += 1;
    row.weights += shape.reduce((product, side) => product * side, 1);
    row.bytes += bytes;
  }
  return Object.fromEntries(Object.entries(rows).sort(([, a], [, b]) => b.weights - a.weights));
}

/** Bytes of a tensor in the engine's layout; of a type that the engine has no layout for, its bytes in the file. @param {import("./gguf.js").TensorInfo} tensor */
function kept({ type, shape, bytes }) {
  if (shape.length !== 2) return 4 * shape.reduce((product, side) => product * side, 1);
  const [rows, columns, unit] = KEPT[type] ?? [1, shape[1], bytes / shape[0]];
  return Math.ceil(shape[0] / rows) * Math.floor(shape[1] / columns) * unit;
}
