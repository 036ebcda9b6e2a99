/**
 * The manifest v1 of one model version: reading, judging its form, the bytes that are signed. Runs anywhere.
 * Twin of `pysrc/edgenet/manifest.py`. It fetches nothing and judges no key (that is `trust.js`).
 */

import {
  LeavesDisagree, ManifestNotJson, ManifestSchemaError, SchemaVersionUnsupported, SizesDisagree, UnsafePath,
} from "../sdk/errors.js";
import { fromHex, sha256, toHex } from "./bytes.js";
import { canonicalize } from "./canonical.js";
import {
  BOOL, COUNT, MODEL_ID, OBJECT, POSITIVE, SHA256, SIGNATURE, TEXT, TIME, VERSION,
  brief, checkFields, listOf, loadObject, matching,
} from "./fields.js";
import { DIGEST_SIZE, MAX_INLINE_LEAVES, chunkCount, merkleRoot } from "./merkle.js";

/** @typedef {Record<string, any>} Manifest a parsed manifest v1 */

export const SCHEMA_VERSION = 1;

/** @type {import("./fields.js").Field[]} */
const TOP = [
  ["id", MODEL_ID, true],
  ["name", TEXT, true],
  ["version", VERSION, true],
  ["type", TEXT, true],
  ["artifacts", OBJECT, true],
  ["sources", listOf(OBJECT), true],
  ["family", TEXT],
  ["architecture", OBJECT],
  ["optimization", OBJECT],
  ["requirements", OBJECT],
  ["benchmarks", OBJECT],
  ["license", TEXT],
  ["homepage", TEXT],
  ["publishedAt", TIME],
  ["publishedBy", TEXT],
  ["expiresAt", TIME],
  ["signature", OBJECT],
];
/** @type {Record<string, import("./fields.js").Field[]>} */
const SECTIONS = {
  architecture: [
    ["type", TEXT], ["layers", POSITIVE], ["hiddenSize", POSITIVE], ["vocabSize", POSITIVE], ["contextLength", POSITIVE],
  ],
  optimization: [["quantization", TEXT], ["format", TEXT], ["originalSize", POSITIVE], ["optimizedSize", POSITIVE]],
  requirements: [["minMemory", COUNT], ["minStorage", COUNT], ["simdRequired", BOOL], ["webgpuOptional", BOOL]],
  signature: SIGNATURE,
};
const CHUNK_SIZE = {
  expected: "a power of two from 1024 to 16777216",
  test: (/** @type {any} */ v) => COUNT.test(v) && v >= 1 << 10 && v <= 1 << 24 && (v & (v - 1)) === 0,
};
/** @type {import("./fields.js").Field[]} */
const ARTIFACT = [
  ["filename", TEXT, true],
  ["size", POSITIVE, true],
  ["sha256", SHA256, true],
  ["chunkSize", CHUNK_SIZE, true],
  ["merkleRoot", SHA256, true],
  ["leaves", listOf(SHA256, 1)],
  ["leavesFile", OBJECT],
  ["cid", matching("a base32 CIDv1 of sha2-256", "baf(krei|ybei)[a-z2-7]{52}")],
];
/** @type {import("./fields.js").Field[]} */
const LEAVES_FILE = [["filename", TEXT, true], ["size", POSITIVE, true], ["sha256", SHA256, true]];
/** @type {import("./fields.js").Field[]} */
const SOURCE = [["type", TEXT, true], ["priority", COUNT], ["baseUrl", TEXT], ["gateways", listOf(TEXT, 1)]];
// The field that each kind of source cannot do without; a kind not named here is kept for a newer EdgeNet.
const SOURCE_NEEDS = new Map([["cdn", "baseUrl"], ["gcs", "baseUrl"], ["fallback", "baseUrl"], ["ipfs", "gateways"]]);
const ARTIFACT_NAME = matching("a short name of letters, digits, _ and -", "[A-Za-z0-9_][A-Za-z0-9_-]{0,63}");

// No percent sign, colon, backslash or leading dot: nothing that a URL parser or a file system could read differently.
const SEGMENT = "[A-Za-z0-9_]([A-Za-z0-9._+@-]*[A-Za-z0-9_+@-])?";
const FILENAME = matching("", `(?=.{1,200}$)${SEGMENT}(/${SEGMENT})*`);
const URL_PATH = "([A-Za-z0-9._~+@=-]+/)*";
const ABSOLUTE_URL = matching("", `https?://[A-Za-z0-9.-]+(:\\d{1,5})?/${URL_PATH}`);
const RELATIVE_URL = matching("", `(\\./)?${URL_PATH}|/${URL_PATH}`);
const RESERVED = ["manifest.json"];

/**
 * The manifest as a fresh object, unknown fields kept. Raises a ManifestError of the kind that fits.
 * Trap: a valid form says nothing about trust.
 * @param {Uint8Array | ArrayBuffer | string | Manifest} data UTF-8 bytes, text or an object
 * @returns {Promise<Manifest>}
 */
export async function parseManifest(data) {
  const manifest = loadObject(data, "manifest", ManifestNotJson, ManifestSchemaError);
  checkSchemaVersion(manifest, "manifest", ManifestSchemaError);
  checkFields(manifest, TOP, "manifest", ManifestSchemaError);
  for (const [section, table] of Object.entries(SECTIONS)) {
    if (Object.hasOwn(manifest, section)) checkFields(manifest[section], table, section, ManifestSchemaError);
  }
  manifest.sources.forEach((/** @type {any} */ source, /** @type {number} */ i) => checkSource(source, `sources[${i}]`));
  await checkArtifacts(manifest.artifacts);
  checkOptimizedSize(manifest);
  return manifest;
}

/** @param {any} document @param {string} what @param {import("./fields.js").ErrorClass} Invalid */
export function checkSchemaVersion(document, what, Invalid) {
  checkFields(document, [["schemaVersion", COUNT, true]], what, Invalid);
  const found = document.schemaVersion;
  if (found === SCHEMA_VERSION) return;
  throw new SchemaVersionUnsupported(
    `${what}: this EdgeNet reads schemaVersion ${SCHEMA_VERSION}, found ${found}; update EdgeNet`,
    { supported: [SCHEMA_VERSION], found },
  );
}

/** @param {any} source @param {string} where */
function checkSource(source, where) {
  checkFields(source, SOURCE, where, ManifestSchemaError);
  const needed = SOURCE_NEEDS.get(source.type);
  if (needed && !Object.hasOwn(source, needed)) {
    throw new ManifestSchemaError(`${where}: a source of type '${source.type}' needs '${needed}'`, { field: needed });
  }
  if (Object.hasOwn(source, "baseUrl")) checkBaseUrl(source.baseUrl, where);
  for (const gateway of source.gateways ?? []) {
    if (ABSOLUTE_URL.test(gateway)) continue;
    throw new UnsafePath(`${where}: ${brief(gateway)} is not an http(s) address that ends in '/'`, { path: gateway });
  }
}

/** Raise UnsafePath unless it is an http(s) or relative address that ends in "/" and climbs nowhere.
 * @param {string} url @param {string} where */
export function checkBaseUrl(url, where) {
  // "./" may begin the address; further dot segments may not.
  const segments = url.replace(/^\.\//, "").split("/");
  const safe = ABSOLUTE_URL.test(url) || RELATIVE_URL.test(url);
  if (safe && !segments.includes(".") && !segments.includes("..")) return;
  throw new UnsafePath(`${where}: baseUrl ${brief(url)} must be an http(s) or relative address, end in '/', and hold no '..'`, {
    path: url,
  });
}

/** Raise UnsafePath unless it is a plain relative path below the model's folder. @param {string} name @param {string} where */
export function checkFilename(name, where) {
  if (FILENAME.test(name)) return;
  throw new UnsafePath(
    `${where}: the file name ${brief(name)} must be a plain relative path of letters, digits and . _ + @ -`, { path: name },
  );
}

/** @param {Record<string, any>} artifacts */
async function checkArtifacts(artifacts) {
  const entries = Object.entries(artifacts);
  if (!entries.length) {
    throw new ManifestSchemaError("manifest: 'artifacts' names no file; it must name at least one", { field: "artifacts" });
  }
  const seen = new Set(RESERVED);
  for (const [name, artifact] of entries) {
    const where = `artifacts.${brief(name)}`;
    if (!ARTIFACT_NAME.test(name)) {
      throw new ManifestSchemaError(`${where}: must be ${ARTIFACT_NAME.expected}`, { field: "artifacts" });
    }
    await checkArtifact(artifact, where);
    claim(artifact.filename, seen, where);
    if (artifact.leavesFile) claim(artifact.leavesFile.filename, seen, where);
  }
}

/** @param {string} filename @param {Set<string>} seen @param {string} where */
function claim(filename, seen, where) {
  const key = filename.toLowerCase();
  if (seen.has(key)) {
    throw new UnsafePath(`${where}: the file name '${filename}' is taken; give each file its own`, { path: filename });
  }
  seen.add(key);
}

/** @param {any} artifact @param {string} where */
async function checkArtifact(artifact, where) {
  checkFields(artifact, ARTIFACT, where, ManifestSchemaError);
  checkFilename(artifact.filename, where);
  if (Object.hasOwn(artifact, "leaves") === Object.hasOwn(artifact, "leavesFile")) {
    throw new ManifestSchemaError(`${where}: must have either 'leaves' or 'leavesFile'`, { field: "leaves" });
  }
  const chunks = chunkCount(artifact.size, artifact.chunkSize);
  if (artifact.leaves) return checkLeaves(artifact, chunks, where);
  checkFields(artifact.leavesFile, LEAVES_FILE, `${where}.leavesFile`, ManifestSchemaError);
  checkFilename(artifact.leavesFile.filename, `${where}.leavesFile`);
  checkEqual(artifact.leavesFile.size, chunks * DIGEST_SIZE, `${where}.leavesFile: size`);
}

/** @param {any} artifact @param {number} chunks @param {string} where */
async function checkLeaves(artifact, chunks, where) {
  checkEqual(artifact.leaves.length, chunks, `${where}: number of leaves`);
  if (chunks > MAX_INLINE_LEAVES) {
    const text = `${where}: ${chunks} leaves, more than ${MAX_INLINE_LEAVES}; put them in a 'leavesFile'`;
    throw new ManifestSchemaError(text, { field: "leaves" });
  }
  const found = toHex(await merkleRoot(artifact.leaves.map(fromHex)));
  if (found === artifact.merkleRoot) return;
  throw new LeavesDisagree(
    `${where}: the leaves add up to ${found}, but merkleRoot is ${artifact.merkleRoot}; publish it again`,
    { expected: artifact.merkleRoot, found },
  );
}

/** @param {Manifest} manifest */
function checkOptimizedSize(manifest) {
  const stated = manifest.optimization?.optimizedSize;
  const model = Object.hasOwn(manifest.artifacts, "model") ? manifest.artifacts.model : undefined;
  if (stated !== undefined && model) checkEqual(stated, model.size, "optimization: optimizedSize");
}

/** @param {number} found @param {number} expected @param {string} what */
function checkEqual(found, expected, what) {
  if (found === expected) return;
  throw new SizesDisagree(`${what} is ${found}, but the artifact's size asks for ${expected}; publish the manifest again`, {
    expected, found,
  });
}

/** Bytes of all files that a parsed manifest names, leaves files included. @param {Manifest} manifest @returns {number} */
export const totalSize = (manifest) =>
  Object.values(manifest.artifacts).reduce((sum, { size, leavesFile }) => sum + size + (leavesFile?.size ?? 0), 0);

/**
 * SHA-256 hex of the canonical manifest without its signature: what identifies its content.
 * @param {Manifest} manifest
 */
export async function unsignedHash({ signature: _, ...rest }) {
  return toHex(await sha256(canonicalize(rest)));
}

/**
 * The bytes that a manifest's signature covers.
 * @param {Manifest} manifest parsed @param {string} timestamp the signature's
 * @returns {Promise<Uint8Array>}
 */
export async function signedPayload(manifest, timestamp) {
  const artifacts = Object.fromEntries(
    Object.entries(manifest.artifacts).map(([name, { sha256: hash, size }]) => [name, { sha256: hash, size }]),
  );
  const { id, version } = manifest;
  return canonicalize({ artifacts, id, manifest: await unsignedHash(manifest), timestamp, version });
}

/** The name of a raw 32-byte public key: the first 16 hex digits of its SHA-256. @param {Uint8Array} publicKey */
export const keyId = async (publicKey) => toHex(await sha256(publicKey)).slice(0, 16);
