/**
 * The Hub's desk for adapters: from the files of one to engine-ready bytes in the model's worker, through Python where they are not ready yet, or where
 * the model was published without what its engine needs to take any. It keeps the bytes, for a worker that died. Page and frame.
 */
import { withRanges } from "./ranges.js";

/** @typedef {import("../workers/rpc.js").CallOptions} CallOptions @typedef {(kind: string, args: any, options?: CallOptions) => Promise<any>} Ask */
/** @typedef {{bytes: Blob, pinned: boolean}} Kept */

/** A header of safetensors that is longer is no adapter's that was made ready. */
const MAX_HEADER = 1 << 20;

/** The adapters of one model. */
export class AdapterDesk {
  /** @type {Map<string, Kept>} */ #kept = new Map();
  /** @type {Promise<any> | null} what the engine needs, where it had to be compiled */ #document = null;
  /** Of the model's files, as Python asked for them. @type {import("./ranges.js").Range[]} */ #ranges = [];

  /** @param {any} manifest of the model @param {Ask} python its kinds `adapted` and `bind` @param {(code: string, reason: string) => void} notice */
  constructor(manifest, python, notice) {
    this.manifest = manifest;
    this.python = python;
    this.notice = notice;
  }

  /**
   * @param {Ask} ask the model's worker @param {{files: Record<string, Blob>, id?: string, pinned?: boolean}} given @param {CallOptions} options
   * @returns {Promise<import("./adapters.js").AdapterInfo>}
   */
  async load(ask, { files, id, pinned = false }, options) {
    const blobs = Object.values(files);
    const ready = blobs.length === 1 && (await isReady(blobs[0]));
    const bytes = ready ? blobs[0] : await this.#bound(ask, files, options);
    const answer = await ask("lm.adapters.load", { id, pinned, bytes, document: await this.#needed(ask, options) }, options);
    this.#kept.set(answer.id, { bytes, pinned });
    this.#compare(answer);
    return answer;
  }

  /** What was trained on another file of the model, probably another quantisation, works: it is no error. @param {import("./adapters.js").AdapterInfo} info */
  #compare({ name, baseSha256 }) {
    const mine = this.manifest.artifacts?.model?.sha256 ?? "";
    if (!otherFile(baseSha256, mine)) return;
    const files = `${baseSha256.slice(0, 12)}\u2026, this one is ${mine.slice(0, 12)}\u2026`;
    this.notice("adapter_other_file", `The adapter "${name}" was trained on another file of this model (${files}), probably another quantisation: it works, slightly less well.`);
  }

  /** @param {Ask} ask @param {string} id @param {CallOptions} options */
  async unload(ask, id, options) {
    await ask("lm.adapters.unload", { id }, options);
    this.#kept.delete(id);
  }

  /** Loads all that was loaded, in a new worker. @param {Ask} ask @param {(id: string, error: Error) => void} lost one that cannot be had again is told and given up; who throws gives up none */
  async restore(ask, lost) {
    for (const [id, kept] of this.#kept) {
      await ask("lm.adapters.load", { id, ...kept, document: await this.#document }).catch((error) => {
        lost(id, error);
        this.#kept.delete(id);
      });
    }
  }

  /** What the engine needs and the model was published without; undefined where it is published. @param {Ask} ask @param {CallOptions} options */
  #needed(ask, options) {
    if (this.manifest.artifacts?.adapted) return undefined;
    this.#document ??= this.#asked(ask, "adapted", {}, options).then(({ document }) => document).catch((error) => { this.#document = null; throw error; });
    return this.#document;
  }

  /** @param {Ask} ask @param {Record<string, Blob>} files @param {CallOptions} options @returns {Promise<Blob>} */
  async #bound(ask, files, options) {
    const adapter = Object.fromEntries(await Promise.all(Object.entries(files).map(async ([path, blob]) => [path, new Uint8Array(await blob.arrayBuffer())])));
    return new Blob([(await this.#asked(ask, "bind", { adapter }, options)).bytes]);
  }

  /** A question of Python's about the model's header. @param {Ask} ask @param {string} kind @param {any} args @param {CallOptions} options */
  async #asked(ask, kind, args, options) {
    const { sizes, capacity } = await ask("lm.source", {}, options);
    const artifacts = Object.keys(sizes).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const nameOf = (/** @type {string} */ artifact) => this.manifest.artifacts[artifact].filename;
    const files = artifacts.map((artifact) => [nameOf(artifact), sizes[artifact]]);
    const read = async (/** @type {string} */ name, /** @type {number} */ offset, /** @type {number} */ length) => {
      const artifact = artifacts.find((one) => nameOf(one) === name);
      return (await ask("lm.source", { ranges: [[artifact, offset, length]] }, options)).parts[0];
    };
    return withRanges((ranges) => this.python(kind, { files, ranges, capacity, ...args }, options), read, this.#ranges);
  }
}

/** Whether two hashes are of two files; of a file of the user's own nobody knows it. @param {string} trainedOn @param {string} mine */
export const otherFile = (trainedOn, mine) => Boolean(trainedOn && mine && trainedOn !== mine);

/** Whether a file is an adapter made ready for an engine: its header says so, and the engine judges it. @param {Blob} file */
async function isReady(file) {
  const start = await file.slice(0, 8).arrayBuffer();
  const length = start.byteLength === 8 ? Number(new DataView(start).getBigUint64(0, true)) : Infinity;
  return length <= MAX_HEADER && (await file.slice(8, 8 + length).text()).includes('"edgenet-adapter"');
}
