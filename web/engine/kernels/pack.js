/**
 * A kernel pack: form, version gate, features, hashes, allowlist. Pure but for WebCrypto's SHA-256; runs anywhere.
 * Twin of `pysrc/edgenet/kernels/pack.py`; the order of judgement is told there.
 */
import { InvalidPack, MissingFeature, NotInAllowlist, PackHashMismatch, RuntimeTooNew, RuntimeTooOld, VersionIncompatible } from "../../sdk/errors.js";
import { sha256, toHex } from "../../trust/bytes.js";
import { COUNT, OBJECT, POSITIVE, TEXT, checkFields, listOf, loadObject, matching } from "../../trust/fields.js";
import { compareVersions } from "../../trust/versions.js";

/** @typedef {{path: string, hash: string, size: number, features: string[]}} Build */
/** @typedef {{version: string, name: string, runtime: [string, string], modules: Record<string, Build[]>, kernels: Map<string, any>, health: Build, fallbacks: Record<string, string>}} PackManifest */

const CATEGORIES = ["positional_encoding", "normalization", "activation", "kv_cache", "adapter", "attention", "custom"];
const DTYPES = ["f32", "f16", "bf16", "i8", "u8", "i32", "u32", "q4", "q8"];
export const LIMITS = Object.freeze({ max_memory_pages: 256, max_epoch_ticks: 1000, max_table_elements: 1024 });

const oneOf = (/** @type {string[]} */ names) => ({ expected: `one of ${names.join(", ")}`, test: (/** @type {any} */ v) => names.includes(v) });
const HASH = matching('"sha256:" and 64 hex digits', "sha256:[0-9a-fA-F]{64}");
const PATH = matching("a plain relative path", "(?!.*(^|/)\\.\\.?(/|$))[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*");
const ID = matching("lower-case letters, digits and _", "[a-z0-9_]{1,64}");
const VERSION = matching("a version such as 1.2.3", "\\d{1,9}\\.\\d{1,9}\\.\\d{1,9}(-[0-9A-Za-z.-]+)?");
const SHAPE = listOf({ expected: "a name or an integer", test: (v) => typeof v === "string" || Number.isInteger(v) });

/** @type {import("../../trust/fields.js").Field[]} */
const PACK = [
  ["version", VERSION, true], ["name", TEXT, true], ["min_runtime_version", VERSION, true], ["max_runtime_version", VERSION, true],
  ["author", OBJECT, true], ["modules", OBJECT, true], ["kernels", listOf(OBJECT, 1), true], ["health", OBJECT, true], ["fallbacks", OBJECT],
];
/** @type {import("../../trust/fields.js").Field[]} */
const FILE = [["path", PATH, true], ["hash", HASH, true], ["size", POSITIVE, true]];
/** @type {import("../../trust/fields.js").Field[]} */
const BUILD = [...FILE, ["features", listOf(TEXT), true]];
/** @type {import("../../trust/fields.js").Field[]} */
const KERNEL = [
  ["id", ID, true], ["kind", oneOf(["engine", "extension"]), true], ["category", oneOf(CATEGORIES), true], ["path", PATH, true], ["hash", HASH, true],
  ["module", TEXT, true], ["entry_point", TEXT, true], ["inputs", listOf(OBJECT), true], ["outputs", listOf(OBJECT), true],
  ["params", OBJECT, true], ["resource_limits", OBJECT],
];
/** @type {import("../../trust/fields.js").Field[]} */
const TENSOR = [["name", TEXT, true], ["dtype", oneOf(DTYPES), true], ["shape", SHAPE, true]];
/** @type {import("../../trust/fields.js").Field[]} */
const LIMIT_FIELDS = Object.keys(LIMITS).map((name) => [name, COUNT]);

/** Raises InvalidPack naming the field that is wrong. @param {Uint8Array} data @returns {PackManifest} */
export function parsePack(data) {
  const doc = loadObject(data, "kernels.json", InvalidPack, InvalidPack);
  checkFields(doc, PACK, "kernels.json", InvalidPack);
  const modules = Object.fromEntries(Object.entries(doc.modules).map(([name, builds]) => [name, parseBuilds(builds, `kernels.json modules.${name}`)]));
  checkFields(doc.health, FILE, "kernels.json health", InvalidPack);
  const kernels = new Map(doc.kernels.map((entry, i) => [entry.id, parseKernel(entry, `kernels.json kernels[${i}]`, modules)]));
  if (kernels.size < doc.kernels.length) throw new InvalidPack("kernels.json: one kernel id is listed twice; ids must be unique");
  return {
    version: doc.version, name: doc.name, runtime: [doc.min_runtime_version, doc.max_runtime_version], modules, kernels,
    health: { ...doc.health, features: [] }, fallbacks: doc.fallbacks ?? {},
  };
}

/** @param {any} builds @param {string} where @returns {Build[]} */
function parseBuilds(builds, where) {
  if (!Array.isArray(builds) || !builds.length) throw new InvalidPack(`${where}: expected a list of builds, best first, found ${typeof builds}`);
  return builds.map((entry) => {
    checkFields(entry, BUILD, where, InvalidPack);
    return { ...entry, hash: entry.hash.toLowerCase() };
  });
}

/** @param {any} entry @param {string} where @param {Record<string, Build[]>} modules */
function parseKernel(entry, where, modules) {
  checkFields(entry, KERNEL, where, InvalidPack);
  for (const tensor of [...entry.inputs, ...entry.outputs]) checkFields(tensor, TENSOR, where, InvalidPack);
  checkFields(entry.resource_limits ?? {}, LIMIT_FIELDS, where, InvalidPack);
  const builds = Object.hasOwn(modules, entry.module) ? modules[entry.module] : [];
  if (!builds.some((b) => b.path === entry.path && b.hash === entry.hash.toLowerCase())) {
    throw new InvalidPack(`${where}: no build of the module "${entry.module}" has this path and hash`);
  }
  return { ...entry, resource_limits: { ...LIMITS, ...entry.resource_limits } };
}

/** Like `compareVersions`, but only of versions: raises VersionIncompatible for a text that is none. @param {string} a @param {string} b */
function judgeVersions(a, b) {
  const bad = [a, b].find((text) => !/^\d{1,9}\.\d{1,9}\.\d{1,9}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/.test(text));
  if (bad !== undefined) throw new VersionIncompatible(`"${bad}" is not a version such as 1.2.3; the pack cannot be judged`);
  return compareVersions(a, b);
}

/** Raises RuntimeTooOld or RuntimeTooNew unless min <= runtime <= max, both ends included. @param {PackManifest} manifest @param {string} runtime */
export function checkRuntime({ name, version, runtime: [low, high] }, runtime) {
  if (judgeVersions(runtime, low) < 0) {
    throw new RuntimeTooOld(`The kernel pack ${name} ${version} needs EdgeNet ${low} or newer, this is ${runtime}. Update EdgeNet.`, { required: low, actual: runtime });
  }
  if (judgeVersions(runtime, high) > 0) {
    throw new RuntimeTooNew(`The kernel pack ${name} ${version} works up to EdgeNet ${high}, this is ${runtime}. Get a newer pack.`, { supported: high, actual: runtime });
  }
}

/** For each module the first build whose features are all there. Raises MissingFeature. @param {PackManifest} manifest @param {Set<string>} features */
export function chooseBuilds(manifest, features) {
  /** @type {Record<string, Build>} */
  const chosen = {};
  for (const [name, builds] of Object.entries(manifest.modules)) {
    const fit = builds.find((build) => build.features.every((f) => features.has(f)));
    const lacking = builds[builds.length - 1].features.filter((f) => !features.has(f));
    if (!fit) throw new MissingFeature(`The module "${name}" needs ${lacking.join(", ")}, which this machine or browser lacks.`, { module: name, features: lacking });
    chosen[name] = fit;
  }
  return chosen;
}

/** Raises PackHashMismatch unless length and SHA-256 are the manifest's. @param {Build} build @param {Uint8Array} data */
export async function checkBytes({ path, hash, size }, data) {
  const found = `sha256:${toHex(await sha256(data))}`;
  if (data.length === size && found === hash.toLowerCase()) return;
  throw new PackHashMismatch(`${path}: expected ${size} bytes with ${hash}, found ${data.length} bytes with ${found}. Fetch the pack again.`, { path, expected: hash, actual: found });
}

/**
 * With an allowlist `{version, kernels: {id: [hash…]}}`, raises NotInAllowlist for a kernel whose chosen module it does not name.
 * @param {PackManifest} manifest @param {Record<string, Build>} chosen @param {any} [allowlist]
 */
export function checkAllowlist(manifest, chosen, allowlist) {
  if (!allowlist) return;
  for (const [id, entry] of manifest.kernels) {
    const { hash } = chosen[entry.module];
    const named = Object.hasOwn(allowlist.kernels ?? {}, id) ? allowlist.kernels[id].map((h) => h.toLowerCase()) : [];
    if (!named.includes(hash)) throw new NotInAllowlist(`The allowlist does not name the kernel "${id}" with ${hash}. Add it, or use another pack.`, { kernel: id, hash });
  }
}
