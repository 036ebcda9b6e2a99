/**
 * Work that tells pieces while it runs, as an async iterator. Page. Leaving the loop early ends the work.
 */

/**
 * @template R
 * @typedef {AsyncIterableIterator<string> & {result: Promise<R>}} PieceStream `result` is what the work answers in the end
 */

/**
 * Starts `work` at once; pieces wait until they are asked for.
 * @template R @param {(onPiece: (text: string) => void, signal: AbortSignal) => Promise<R>} work @param {AbortSignal} [outer] ends the work, too
 * @returns {PieceStream<R>}
 */
export function streamOf(work, outer) {
  const own = new AbortController();
  const signal = outer ? AbortSignal.any([outer, own.signal]) : own.signal;
  /** @type {string[]} */ const pieces = [];
  let ended = false;
  /** Who waits for news: `next` may be called again before it has answered. @type {(() => void)[]} */ const waiting = [];
  const wake = () => waiting.splice(0).forEach((go) => go());
  const result = work((text) => { pieces.push(text); wake(); }, signal);
  const finish = () => { ended = true; wake(); };
  result.then(finish, finish); // a failure is told by `next`, and by `result` to whoever asks

  return {
    result,
    async next() {
      while (!pieces.length && !ended) await new Promise((resolve) => { waiting.push(() => resolve(undefined)); });
      if (pieces.length) return { value: /** @type {string} */ (pieces.shift()), done: false };
      if (!own.signal.aborted) await result;
      return { value: undefined, done: true };
    },
    async return() {
      own.abort();
      pieces.length = 0;
      return { value: undefined, done: true };
    },
    [Symbol.asyncIterator]() { return this; },
  };
}
