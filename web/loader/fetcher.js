/**
 * Fetches the missing chunks of one artifact: best source first, several connections, every chunk hashed before it is handed on.
 * Runs in the loader worker and the service worker. It stores nothing itself: verified chunks go to `onChunk`.
 *
 * One source is asked for everything that is missing. What it fails to deliver, or delivers with a wrong hash, is asked of the
 * next one. A download begins with one connection, the fastest way on a fast line; while more than WORTH ms are still to come, every
 * RAMP ms another one takes over half of the longest stretch.
 */
import { AbortError, AllSourcesFailed, HashMismatch, NetworkError, RangeUnsupported, SourceUnsupported } from "../sdk/errors.js";
import { sameBytes } from "../trust/bytes.js";
import { chunkLength, leafHash } from "../trust/merkle.js";
import { isTransient, openRange, sizeMismatch } from "./http.js";
import { spans } from "./ranges.js";

const RAMP = 400; // ms before one more connection
const WORTH = 2000; // ms still to come at the present rate that are worth one more connection
const STEAL = 4; // chunks: shorter stretches are not worth a connection
const BACKOFF = 500; // ms before the second try, then doubled
const MAX_WRONG = 3; // wrong chunks after which a source gets no more of our time
const HASHING = 8; // chunks in memory that wait for their hash, per connection

/**
 * @typedef {object} Job
 * @property {number} size bytes @property {number} chunkSize bytes
 * @property {Uint8Array[]} leaves the hash of every chunk, 32 bytes each
 * @property {import("./sources.js").Candidate[]} sources best first
 * @property {(index: number, bytes: Uint8Array) => void | Promise<void>} onChunk a verified chunk
 * @property {(event: {code: string, reason: string, from: string, to: string}) => void} [onFallback]
 * @property {boolean} [reuse] `onChunk` is done with the bytes when its promise resolves: buffers go round
 * @property {import("./http.js").Wire} wire
 * @property {AbortSignal} [signal]
 * @property {number} parallel connections at once @property {number} retries per source @property {number} timeout ms without a byte
 *
 * @typedef {{next: number, last: number}} Task chunks still to be received by one connection
 */

/**
 * @param {Job} job @param {number[]} wanted chunk numbers, ascending
 * @throws {AllSourcesFailed} with `details.attempts` [{url, code, reason}]; whatever was verified has been handed on
 */
export async function fetchChunks(job, wanted) {
  if (!job.sources.length) throw new SourceUnsupported("The manifest names no source that this program can read. Update EdgeNet, or ask the publisher for an http source.");
  const attempts = [];
  for (const [i, source] of job.sources.entries()) {
    const lane = await fetchFrom(job, source, wanted);
    wanted = [...lane.wanted, ...lane.refused].sort((a, b) => a - b);
    if (!wanted.length) return;
    const { code, message } = lane.fault ?? lane.refusal ?? new NetworkError(`${source.url} did not deliver.`);
    attempts.push({ url: source.url, code, reason: message });
    const next = job.sources[i + 1];
    if (next) job.onFallback?.({ code, reason: `${message} Using ${next.url} for ${wanted.length} chunks.`, from: source.url, to: next.url });
  }
  const list = attempts.map(({ reason }) => reason).join(" ");
  throw new AllSourcesFailed(`No source delivered ${wanted.length} of the chunks. ${list} Nothing unverified was stored; try again later.`, { attempts, chunks: wanted.slice(0, 20) });
}

/** Takes from one source all it can deliver. `lane.wanted` and `lane.refused` are what it did not. */
async function fetchFrom(job, source, wanted) {
  const lane = {
    source,
    wanted: new Set(wanted), // neither verified nor being hashed
    refused: new Set(), // came with a wrong hash
    refusal: null,
    spare: [], // buffers of full chunks; fresh memory costs more than the copy into it
    pending: spans(wanted).map(({ first, last }) => ({ next: first, last })),
    active: new Set(),
    whole: false, // the server ignores Range: one connection, from the start
    fault: null,
    done: new AbortController(),
  };
  const begun = { at: job.wire.now(), chunks: wanted.length };
  const runners = [run(job, lane)];
  const ended = runners[0].finally(() => lane.done.abort()).catch(() => {});
  while (runners.length < job.parallel) {
    await job.wire.sleep(RAMP, lane.done.signal);
    if (lane.done.signal.aborted || lane.whole || lane.fault || job.signal?.aborted) break;
    if (timeLeft(job, lane, begun) > WORTH && (lane.pending.length || longest(lane))) runners.push(run(job, lane));
  }
  await Promise.allSettled([...runners, ended]);
  for (const result of await Promise.allSettled(runners)) if (result.status === "rejected") throw result.reason;
  return lane;
}

/** Milliseconds that the rest takes at the rate so far. */
function timeLeft(job, lane, begun) {
  const received = begun.chunks - lane.wanted.size;
  return received ? (lane.wanted.size * (job.wire.now() - begun.at)) / received : Infinity;
}

const left = (/** @type {Task} */ task) => task.last - task.next + 1;

function longest(lane) {
  const [task] = [...lane.active].sort((a, b) => left(b) - left(a));
  return task && left(task) >= STEAL && !lane.whole ? task : null;
}

/** The next stretch: one that nobody has begun, or the second half of the longest one. @returns {Task | undefined} */
function take(lane) {
  const task = lane.pending.shift();
  if (task || lane.fault) return lane.fault ? undefined : task;
  const victim = longest(lane);
  if (!victim) return undefined;
  const middle = victim.next + Math.ceil(left(victim) / 2);
  const stolen = { next: middle, last: victim.last, victim };
  victim.last = middle - 1;
  return stolen;
}

async function run(job, lane) {
  for (let task = take(lane); task; task = take(lane)) {
    lane.active.add(task);
    const fault = await drain(job, lane, task).finally(() => lane.active.delete(task));
    if (!fault) continue;
    if (lane.active.size === 0) lane.fault ??= fault;
    else giveBack(lane, task); // the server may only dislike this many connections: the others go on
    return;
  }
}

function giveBack(lane, task) {
  const { victim } = task;
  if (victim && lane.active.has(victim) && victim.last + 1 === task.next) victim.last = task.last;
  else lane.pending.push({ next: task.next, last: task.last });
}

/** Streams one stretch, again and again while that helps. @returns {Promise<Error | null>} why the source cannot go on */
async function drain(job, lane, task) {
  for (let attempt = 0; left(task) > 0 && !lane.fault;) {
    const [before, held] = [task.next, lane.wanted.size];
    try {
      await streamOnce(job, lane, task);
      if (task.next === before) return new RangeUnsupported(`${lane.source.url} answers with less than one chunk at a time.`, { url: lane.source.url });
      attempt = 0;
    } catch (error) {
      job.signal?.throwIfAborted();
      if (lane.fatal) throw lane.fatal;
      if (error instanceof RangeUnsupported && !lane.whole && lane.active.size === 1) { lane.whole = true; continue; }
      if (lane.wanted.size < held) attempt = 0; // it did help
      if (!isTransient(error) || attempt >= job.retries) return error;
      await job.wire.sleep(BACKOFF * 2 ** attempt++, job.signal);
      job.signal?.throwIfAborted();
    }
  }
  return null;
}

/** One request. Chunks are hashed while the next ones arrive. */
async function streamOnce(job, lane, task) {
  const { size, chunkSize } = job;
  const range = { from: task.next * chunkSize, to: Math.min((task.last + 1) * chunkSize, size) };
  const ranged = !lane.whole && (range.from > 0 || range.to < size);
  const answer = await openRange(lane.source.url, { ...range, size, ranged }, job);
  if (ranged && answer.from === 0 && range.from > 0) becomeWhole(lane);
  const hashing = new Set();
  try {
    for await (const chunk of assemble(answer, job, lane)) {
      const { index, buffer } = chunk;
      const work = verify(job, lane, index, buffer).finally(() => {
        hashing.delete(work);
        if (job.reuse && buffer.length === job.chunkSize + 1) lane.spare.push(buffer);
      });
      work.catch(() => {}); // reported by the race or by allSettled below
      hashing.add(work);
      if (!lane.whole) task.next = index + 1;
      if (hashing.size >= HASHING) await Promise.race(hashing);
      if (lane.fault || (lane.whole ? !lane.wanted.size : left(task) <= 0)) break;
    }
    await Promise.all(hashing);
  } finally {
    await Promise.allSettled(hashing);
  }
  if (lane.whole) finishWhole(lane, task);
}

/** A 200 for a range. Only one connection may go on with that. */
function becomeWhole(lane) {
  if (lane.active.size > 1) throw new RangeUnsupported(`${lane.source.url} ignores Range: it can be read from the start only.`, { url: lane.source.url });
  lane.whole = true;
}

/** A whole pass has offered every chunk; what is still wanted was wrong. */
function finishWhole(lane, task) {
  task.next = task.last + 1;
  lane.pending.length = 0;
}

/**
 * Cuts the stream into chunks that are still wanted. Each buffer is one byte longer than its chunk and begins with 0x00, as the leaf
 * hash needs it, so that nothing is copied twice.
 */
async function* assemble({ from, to, counted, body }, job, lane) {
  const { size, chunkSize, signal } = job;
  let index = from / chunkSize;
  /** @type {Uint8Array<ArrayBuffer> | null} */
  let buffer = null;
  let filled = 0;
  for await (const piece of body) {
    signal?.throwIfAborted();
    for (let offset = 0; offset < piece.length;) {
      const length = chunkLength(size, chunkSize, index);
      if (length <= 0) throw sizeMismatch(lane.source.url, size, index * chunkSize + piece.length - offset);
      buffer ??= bufferFor(length, chunkSize, lane);
      const taken = Math.min(length - filled, piece.length - offset);
      buffer.set(piece.subarray(offset, offset + taken), 1 + filled);
      offset += taken;
      filled += taken;
      if (filled < length) continue;
      if (lane.wanted.has(index)) yield { index, buffer };
      [index, buffer, filled] = [index + 1, null, 0];
    }
  }
  const reached = Math.min(index * chunkSize + filled, size);
  if (reached < to && counted && to === size) throw sizeMismatch(lane.source.url, size, reached);
  if (reached < to) throw new NetworkError(`${lane.source.url}: the connection ended at byte ${reached} of ${to}.`, { url: lane.source.url });
}

/** Room for a chunk behind its 0x00, used before if one is at hand. @returns {Uint8Array<ArrayBuffer>} */
const bufferFor = (length, chunkSize, lane) => (length === chunkSize && lane.spare.pop()) || new Uint8Array(1 + length);

/** The chunk is handed on, or put among the refused. */
async function verify(job, lane, index, buffer) {
  lane.wanted.delete(index);
  const hash = await leafHash(buffer);
  if (sameBytes(hash, job.leaves[index])) return keep(job, lane, index, buffer.subarray(1));
  const { url } = lane.source;
  lane.refused.add(index);
  lane.refusal ??= new HashMismatch(`${url}: chunk ${index} has another hash than the manifest says.`, { url, chunk: index });
  if (lane.refused.size >= MAX_WRONG) lane.fault = lane.refusal;
}

/** Storage that fails ends the whole download: no other source can help. */
async function keep(job, lane, index, bytes) {
  try {
    await job.onChunk(index, bytes);
  } catch (error) {
    lane.fatal ??= error;
    lane.fault ??= error;
    throw error;
  }
}
