/**
 * A file by its address: parts of it by range, or all of it as a Blob, which browsers keep on disk when it is large. Page. It judges no byte.
 */
import { HttpStatusError, NetworkError, RangeUnsupported } from "./errors.js";

/** @param {string} url @param {RequestInit} [options] */
async function ask(url, options) {
  const answer = await fetch(url, { credentials: "omit", ...options }).catch((error) => {
    options?.signal?.throwIfAborted();
    throw new NetworkError(`${url} could not be fetched (${error.message}). Check the address and the connection; a server of another origin must allow this page (CORS).`, { url });
  });
  if (!answer.ok) throw new HttpStatusError(`${url} answered ${answer.status}.`, { url, status: answer.status });
  return answer;
}

/**
 * @param {string} url @param {AbortSignal} [signal]
 * @returns {Promise<{size: number | null, stamp: string | null, read: (offset: number, length: number) => Promise<Uint8Array>, download: (onProgress: (loaded: number, total: number) => void) => Promise<Blob>}>}
 *   `size` is null, and `read` of no use, where the server gives no parts; `stamp` changes when the file does, null where the server does not say
 */
export async function openUrl(url, signal) {
  const head = await ask(url, { method: "HEAD", signal });
  const length = Number(head.headers.get("Content-Length"));
  const ranged = length > 0 && (await givesParts(url, signal));
  const mark = head.headers.get("Last-Modified") ?? head.headers.get("ETag");
  return {
    size: ranged ? length : null,
    stamp: mark && length ? `${length}:${mark}` : null,
    async read(offset, count) {
      const answer = await ask(url, { headers: { Range: `bytes=${offset}-${offset + count - 1}` }, signal });
      if (answer.status !== 206) await answer.body?.cancel(); // all of a file that may be huge
      const part = answer.status === 206 ? new Uint8Array(await answer.arrayBuffer()) : new Uint8Array(0);
      if (part.length === count) return part;
      throw new RangeUnsupported(`${url} was asked for ${count} bytes at ${offset} and answered ${answer.status} with ${part.length || "all"}. Download the file and load it from disk.`, { url, offset });
    },
    async download(onProgress) {
      const answer = await ask(url, { signal });
      let loaded = 0;
      const count = new TransformStream({
        transform(chunk, controller) {
          onProgress((loaded += chunk.length), length || loaded);
          controller.enqueue(chunk);
        },
      });
      return new Response(answer.body?.pipeThrough(count, { signal })).blob();
    },
  };
}

/** @param {string} url @param {AbortSignal} [signal] */
async function givesParts(url, signal) {
  const answer = await ask(url, { headers: { Range: "bytes=0-0" }, signal });
  await answer.body?.cancel();
  return answer.status === 206;
}

/** @param {Blob} blob @returns {(offset: number, length: number) => Promise<Uint8Array>} */
export const blobAt = (blob) => async (offset, length) => new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
