/**
 * One request for a range of a file, judged by what a hostile or careless server can answer. Runs in workers, page, service worker.
 * It says nothing about the bytes themselves: the fetcher hashes them.
 */
import { HttpStatusError, NetworkError, RangeUnsupported, RequestTimeout, SizeMismatch } from "../sdk/errors.js";
import { parseContentRange } from "./ranges.js";

/** Answers that a second try may change. */
const TRANSIENT_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);

/** True if the same source is worth another try. @param {any} error */
export function isTransient(error) {
  if (error instanceof HttpStatusError) return TRANSIENT_STATUS.has(Number(error.details.status));
  return error instanceof NetworkError && ![RequestTimeout, RangeUnsupported].some((kind) => error instanceof kind);
}

/**
 * @typedef {object} Answer
 * @property {number} from offset of the body's first byte; 0 where the server ignored the range
 * @property {number} to offset after its last byte, as far as the server says
 * @property {boolean} counted the server stated a length: an early end without an error means that it has no more
 * @property {AsyncGenerator<Uint8Array>} body leave the loop early to close the connection
 *
 * @typedef {object} Wire what the outside world is reached by; tests give their own
 * @property {typeof fetch} fetch
 * @property {(ms: number, signal?: AbortSignal) => Promise<void>} sleep
 * @property {() => number} now milliseconds
 */

/** @type {Wire} */
export const WIRE = { fetch: (...args) => fetch(...args), sleep, now: () => Date.now() };

/** Resolves after `ms`, or at once when `signal` fires. @param {number} ms @param {AbortSignal} [signal] @returns {Promise<void>} */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const finish = () => { clearTimeout(timer); signal?.removeEventListener("abort", finish); resolve(); };
    const timer = setTimeout(finish, ms);
    signal?.addEventListener("abort", finish, { once: true });
  });
}

/**
 * @param {string} url
 * @param {{from: number, to: number, size: number, ranged: boolean}} want `size` of the whole file; not `ranged`: ask for all of it
 * @param {{wire: Wire, signal?: AbortSignal, timeout: number}} options `timeout`: ms without a byte
 * @returns {Promise<Answer>}
 * @throws {HttpStatusError | NetworkError | RequestTimeout | RangeUnsupported | SizeMismatch}
 */
export async function openRange(url, want, { wire, signal, timeout }) {
  const watchdog = idleWatchdog(url, timeout);
  const stop = signal ? AbortSignal.any([signal, watchdog.signal]) : watchdog.signal;
  /** @type {Record<string, string>} */
  const headers = want.ranged ? { Range: `bytes=${want.from}-${want.to - 1}` } : {};
  let response;
  try {
    // no-store: the bytes go to our own store, and the service worker leaves such requests alone
    response = await wire.fetch(url, { headers, signal: stop, cache: "no-store", credentials: "omit" });
  } catch (error) {
    watchdog.stop();
    throw stop.aborted ? stop.reason : new NetworkError(`${url} could not be reached (${error.message}). Check the connection.`, { url });
  }
  try {
    const span = judge(url, response, want);
    return { ...span, counted: response.headers.has("Content-Length"), body: bytesOf(url, response, stop, watchdog) };
  } catch (error) {
    watchdog.stop();
    response.body?.cancel().catch(() => {});
    throw error;
  }
}

/** Status → check of the headers. @returns {{from: number, to: number}} */
function judge(url, response, want) {
  if (response.status === 206 && want.ranged) return judgePart(url, response, want);
  if (response.status !== 200) throw new HttpStatusError(`${url} answered ${response.status}.`, { url, status: response.status });
  const length = response.headers.get("Content-Length");
  // From another origin a Content-Encoding is hidden, and the length would be that of the packed bytes.
  const plain = response.type === "basic" && !response.headers.get("Content-Encoding");
  if (plain && length !== null && Number(length) !== want.size) throw sizeMismatch(url, want.size, Number(length));
  return { from: 0, to: want.size };
}

function judgePart(url, response, want) {
  const encoding = response.headers.get("Content-Encoding");
  if (encoding && encoding !== "identity") throw new RangeUnsupported(`${url} answered a range in ${encoding}, which has no meaning.`, { url, encoding });
  const found = parseContentRange(response.headers.get("Content-Range"));
  if (!found) { // hidden from other origins unless exposed: the hashes will tell
    if (response.type === "basic") throw new RangeUnsupported(`${url} answered 206 without a readable Content-Range.`, { url });
    return { from: want.from, to: want.to };
  }
  if (found.total !== null && found.total !== want.size) throw sizeMismatch(url, want.size, found.total);
  if (found.from !== want.from || found.to > want.to) {
    throw new RangeUnsupported(`${url} was asked for bytes ${want.from}-${want.to - 1} and answered ${found.from}-${found.to - 1}.`, { url });
  }
  return { from: found.from, to: found.to };
}

/** @param {string} url @param {number} expected @param {number} found */
export const sizeMismatch = (url, expected, found) =>
  new SizeMismatch(`${url} holds ${found} bytes, but the manifest says ${expected}. The file there is another one.`, { url, expected, found });

async function* bytesOf(url, response, stop, watchdog) {
  const reader = response.body.getReader();
  let done = false;
  try {
    for (;;) {
      watchdog.feed();
      const piece = await reader.read();
      done = piece.done;
      if (done) return;
      yield piece.value;
    }
  } catch (error) {
    throw stop.aborted ? stop.reason : new NetworkError(`${url}: the connection was cut (${error.message}).`, { url });
  } finally {
    watchdog.stop();
    if (!done) reader.cancel().catch(() => {});
  }
}

function idleWatchdog(url, timeout) {
  const controller = new AbortController();
  let timer;
  const feed = () => {
    clearTimeout(timer);
    timer = setTimeout(() => controller.abort(new RequestTimeout(`${url} sent nothing for ${timeout} ms.`, { url, timeout })), timeout);
  };
  feed();
  return { signal: controller.signal, feed, stop: () => clearTimeout(timer) };
}
