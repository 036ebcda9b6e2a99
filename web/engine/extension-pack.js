/**
 * The extension kernels of a signed pack, anybody's: verified, health-checked in a worker of their own, listed, run. Page, worker and Node.
 * Nothing of the engine is fetched, compiled or touched. Twin of `pysrc/edgenet/kernels/extensions.py`.
 */
import { HealthCheckFailed, InvalidPack, KernelError, KernelNotFound } from "../sdk/errors.js";
import { makeCall } from "./kernels/calls.js";
import { wasmFeatures } from "../sdk/features.js";
import { checkExtensions } from "./kernels/health.js";
import { checkAllowlist, checkBytes, chooseBuilds } from "./kernels/pack.js";
import { raiseForCode } from "./kernels/traps.js";
import { judgedManifest, reader } from "./pack-files.js";

/**
 * @typedef {object} KernelInfo
 * @property {string} id @property {"engine" | "extension"} kind @property {boolean} runnable whether `runKernel` takes it
 * @property {string} category
 * @property {{name: string, dtype: string, shape: (string | number)[]}[]} inputs @property {{name: string, dtype: string, shape: (string | number)[]}[]} outputs
 * @property {Record<string, {type: string, default?: number}>} params in the order of the parameter block
 * @property {(string | number)[]} scratch floats of scratch that a call gets
 * @property {{max_memory_pages: number, max_epoch_ticks: number, max_table_elements: number}} limits pages of 64 KiB, ticks of 10 ms
 * @property {string} pack @property {string} version @property {string} keyId the key that signed it
 */

export class ExtensionPack {
  /**
   * @param {import("./kernels/pack.js").PackManifest} manifest @param {string} keyId
   * @param {import("./watchdog.js").KernelRunner} runner that holds its kernels @param {number} checked health vectors that passed
   */
  constructor(manifest, keyId, runner, checked) {
    this.manifest = manifest;
    this.keyId = keyId;
    this.runner = runner;
    this.checked = checked;
  }

  /** @param {string} [prefix] before each id @returns {KernelInfo[]} */
  kernels(prefix = "") {
    const common = { pack: this.manifest.name, version: this.manifest.version, keyId: this.keyId };
    return [...this.manifest.kernels.values()].map(({ id, kind, category, inputs, outputs, params, scratch = [], resource_limits: limits }) => (
      { id: prefix + id, kind, runnable: kind === "extension", category, inputs, outputs, params, scratch, limits, ...common }
    ));
  }

  /**
   * One call. Raises KernelNotFound, what `makeCall` raises, EpochDeadline or a trap's error (the worker is then replaced), KernelTrap with
   * `details.returned` for a code other than OK, or the signal's reason. `deadline` in ms can only shorten what the pack allows.
   * @param {string} id @param {import("./kernels/calls.js").KernelCall} call @param {{signal?: AbortSignal, deadline?: number}} [options]
   * @returns {Promise<{output: Float32Array, scratch?: Float32Array}>}
   */
  async run(id, call, { signal, deadline } = {}) {
    const made = makeCall(this.#entry(id), call);
    const { code, out, scratch } = await this.runner.run(id, made, { signal, deadlineMs: deadline });
    raiseForCode(code, id);
    const output = new Float32Array(out.buffer);
    return made.scratch ? { output, scratch: new Float32Array(scratch.buffer) } : { output };
  }

  /** @param {string} id */
  #entry(id) {
    const found = this.manifest.kernels.get(id);
    if (found?.kind === "extension") return found;
    const why = found ? "is the engine's own; sessions use it" : `is not in the pack ${this.manifest.name}`;
    throw new KernelNotFound(`The kernel "${id}" ${why}. To run there are: ${this.runner.kernels.join(", ") || "none"}.`, { kernel: id });
  }

  dispose() { this.runner.dispose(); }
}

/**
 * Verify a pack at `url` and start its extension kernels. Order: signature, form, version gate, features, allowlist, hashes, health.
 * Raises a PackError; then nothing of it runs any more.
 * @param {string} url @param {import("./kernels.js").PackOptions & {makeRunner: () => import("./watchdog.js").KernelRunner}} options
 */
export async function loadExtensions(url, options) {
  const read = reader(url, options);
  const { manifest, keyId } = await judgedManifest(read, options);
  const own = extensionsOf(manifest);
  const builds = chooseBuilds(own, options.features ?? wasmFeatures());
  checkAllowlist(own, builds, options.allowlist);
  const names = Object.keys(builds);
  const [health, ...modules] = await Promise.all([manifest.health, ...names.map((name) => builds[name])].map((build) => checked(read, build)));
  const vectors = healthOf(own, health);
  const runner = options.makeRunner();
  try {
    return new ExtensionPack(manifest, keyId, runner, await start(own, new Map(names.map((name, i) => [name, modules[i]])), vectors, runner));
  } catch (error) {
    runner.dispose();
    if (!(error instanceof KernelError)) throw error; // a PackError, or a worker that could not be had
    const { name, code, message } = error; // a trap is as bad as a wrong number
    throw new HealthCheckFailed(`The pack ${manifest.name} ${manifest.version} failed its health check: ${message}`, { cause: { name, code } });
  }
}

/** The manifest with its extension kernels and their modules alone. @param {import("./kernels/pack.js").PackManifest} manifest */
function extensionsOf(manifest) {
  const kernels = new Map([...manifest.kernels].filter(([, entry]) => entry.kind === "extension"));
  for (const [id, { entry_point: entry }] of kernels) {
    if (entry !== "kernel_forward") throw new InvalidPack(`kernels.json: the entry point of "${id}" must be kernel_forward, found ${JSON.stringify(entry)}`);
  }
  const used = new Set([...kernels.values()].map(({ module }) => module));
  return { ...manifest, kernels, modules: Object.fromEntries(Object.entries(manifest.modules).filter(([name]) => used.has(name))) };
}

async function checked(read, build) {
  const data = await read(build.path);
  await checkBytes(build, data);
  return data;
}

/** Raises InvalidPack, or HealthCheckFailed for a kernel that nothing would check. */
function healthOf({ name, kernels }, data) {
  let health;
  try {
    health = JSON.parse(new TextDecoder().decode(data));
  } catch { /* below */ }
  if (!Array.isArray(health?.extensions)) throw new InvalidPack(`The health vectors of the pack ${name} are no list; make the pack again.`);
  const tested = new Set(health.extensions.map((vector) => vector?.kernel));
  const lacking = [...kernels.keys()].filter((id) => !tested.has(id));
  if (lacking.length) throw new HealthCheckFailed(`The pack ${name} has no health vector for ${lacking.join(", ")}. The pack is not used.`, { lacking });
  return health;
}

async function start({ kernels }, modules, health, runner) {
  for (const { id, module, resource_limits: limits } of kernels.values()) {
    await runner.load(id, modules.get(module), { pages: limits.max_memory_pages, ticks: limits.max_epoch_ticks });
  }
  return checkExtensions(runner, health, new Set(kernels.keys()));
}
