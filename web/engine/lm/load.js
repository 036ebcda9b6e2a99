/**
 * Weights from where they lie into engine memory: read by groups of rows into a small staging buffer, repacked from there into the engine's
 * layout. Every thread of the engine runs `pour` on the same list and takes the next group that nobody has. Runs in workers and in Node.
 */
import { ModelInvalid } from "../../sdk/errors.js";
import { openArtifact } from "../../loader/store.js";

/**
 * @typedef {{root: string} | {blob: Blob}} Source an artifact in the store by its Merkle root, or a file the user gave
 *
 * @typedef {object} Job some rows of a weight
 * @property {string} artifact @property {number} offset @property {number} bytes in the file
 * @property {number} type @property {number} layout codes @property {number} destination address of the whole weight
 * @property {number} rows @property {number} columns of the whole weight @property {number} first @property {number} count rows of this job
 *
 * @typedef {object} Pour what all threads share
 * @property {Job[]} jobs @property {Record<string, Source>} sources by artifact @property {Int32Array} next number of the first job nobody has taken
 */

/** How often a pouring worker listens, ms. */
const LISTEN = 50;

/** @param {any} program @param {any} table @param {import("./memory.js").Plan} plan @returns {Job[]} */
export function jobsOf({ weights }, { layouts }, { weights: placed, stagingBytes }) {
  return weights.flatMap((/** @type {any} */ { artifact, offset, bytes, type }, /** @type {number} */ i) => {
    const { address, rows, columns, layout } = placed[i];
    const [form, rowBytes] = [layouts.weights[layout], bytes / rows];
    const most = Math.floor(stagingBytes / rowBytes / form.rows) * form.rows || rows;
    return Array.from({ length: Math.ceil(rows / most) }, (_, k) => {
      const [first, count] = [k * most, Math.min(most, rows - k * most)];
      return { artifact, offset: offset + first * rowBytes, bytes: count * rowBytes, type: layouts.types[type].code, layout: form.code, destination: address, rows, columns, first, count };
    });
  });
}

/**
 * Takes jobs until none is left; while one is repacked the next is being read. @param {Pour} pour
 * @param {{exports: any, memory: WebAssembly.Memory, staging: number, stagingBytes: number}} engine `staging`: address of this thread's own two buffers
 * @param {(taken: number) => void | Promise<void>} [listen] called now and then; what it throws ends all threads' work
 * @throws {ModelInvalid} bytes that are no such weight; NotCached
 */
export async function pour({ jobs, sources, next }, { exports, memory, staging, stagingBytes }, listen, now = () => performance.now()) {
  const readers = await openAll(sources);
  let [heard, taken] = [now(), 0];
  async function read() {
    const job = jobs[Atomics.add(next, 0, 1)];
    const at = staging + stagingBytes * (taken++ & 1);
    await (job && readers[job.artifact].into(job.offset, new Uint8Array(memory.buffer, at, job.bytes)));
    return { job, at };
  }
  try {
    requireWhole(jobs, readers);
    for (let ready = read(); ; ) {
      const { job, at } = await ready;
      if (!job) return;
      ready = read();
      ready.catch(() => {}); // thrown where it is awaited, unless this job fails first
      repack(exports, at, job);
      if (!listen || now() - heard < LISTEN) continue;
      await listen(Math.min(Atomics.load(next, 0), jobs.length));
      heard = now();
    }
  } catch (error) {
    Atomics.store(next, 0, jobs.length);
    throw error;
  } finally {
    for (const { close } of Object.values(readers)) close();
  }
}

/** @param {any} exports @param {number} staging @param {Job} job */
function repack(exports, staging, { type, layout, destination, rows, columns, first, count, artifact, offset }) {
  const code = exports.repack(type, layout, staging, destination, rows, columns, first, count);
  if (code) throw new ModelInvalid(`The bytes at ${offset} of the file "${artifact}" are no weights of ${count} x ${columns} (code ${code}). Get the file again.`, { artifact, offset, code });
}

/** @param {Record<string, Source>} sources */
async function openAll(sources) {
  const rows = await Promise.all(Object.entries(sources).map(async ([name, source]) => [name, "blob" in source ? blobReader(source.blob) : await openArtifact(source.root)]));
  return Object.fromEntries(rows);
}

/**
 * Parts of a model's files, for who must read its header again. @param {Record<string, Source>} sources @param {[artifact: string, offset: number, length: number][]} [ranges]
 * @returns {Promise<{sizes: Record<string, number>, parts: Uint8Array[]}>} in the order of `ranges`
 */
export async function readSources(sources, ranges = []) {
  const readers = await openAll(sources);
  try {
    const parts = await Promise.all(ranges.map(async ([artifact, offset, length]) => {
      const part = new Uint8Array(length);
      await readers[artifact].into(offset, part);
      return part;
    }));
    return { sizes: Object.fromEntries(Object.entries(readers).map(([name, { size }]) => [name, size])), parts };
  } finally {
    for (const { close } of Object.values(readers)) close();
  }
}

/** @param {Job[]} jobs @param {Record<string, {size: number}>} readers */
function requireWhole(jobs, readers) {
  const beyond = jobs.find(({ artifact, offset, bytes }) => !(offset + bytes <= readers[artifact]?.size));
  if (!beyond) return;
  const { artifact, offset, bytes } = beyond;
  const size = readers[artifact]?.size;
  throw new ModelInvalid(size === undefined ? `The Program names a file "${artifact}" that was not given. Give all parts of the model.` : `The file "${artifact}" has ${size} bytes; weights lie at ${offset} to ${offset + bytes}. It was cut short, or is another file: get it again.`, { artifact, offset, size });
}

/** @param {Blob} blob */
const blobReader = (blob) => ({
  size: blob.size,
  /** @param {number} offset @param {Uint8Array} view */
  async into(offset, view) { view.set(new Uint8Array(await blob.slice(offset, offset + view.length).arrayBuffer())); },
  close() {},
});
