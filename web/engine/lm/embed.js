/** Texts through an encoder: rows of many texts packed into one run, none of them padding. Worker and Node. */

/**
 * Which texts run together: the longest first, each into the first run that has room. Pure.
 * @param {number[]} lengths tokens of each text, none above `rows` @param {{rows: number, sequences: number}} capacity of one run
 * @returns {number[][]} indices of texts, by run
 */
export function packs(lengths, { rows, sequences }) {
  /** @type {{room: number, texts: number[]}[]} */ const runs = [];
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b] - lengths[a] || a - b);
  for (const i of order) {
    let run = runs.find(({ room, texts }) => lengths[i] <= room && texts.length < sequences);
    if (!run) runs.push((run = { room: rows, texts: [] }));
    run.texts.push(i);
    run.room -= lengths[i];
  }
  return runs.map(({ texts }) => texts);
}

/**
 * @param {Host} host its engine may be another after a recovery @param {number[][]} texts token ids; one longer than a run holds loses its end, but for its last token
 * @param {{signal?: AbortSignal, onProgress?: (done: number) => void}} [options] @returns {Promise<Float32Array>} n x dimensions, in the order of the texts
 */
export async function embed(host, texts, { signal, onProgress = () => {} } = {}) {
  const { capacity, dimensions } = host.engine;
  const most = Math.min(capacity.rows, capacity.context);
  const lists = texts.map((tokens) => (tokens.length > most ? [...tokens.slice(0, most - 1), /** @type {number} */ (tokens.at(-1))] : tokens));
  const vectors = new Float32Array(texts.length * dimensions);
  let done = 0;
  for (const run of packs(lists.map((tokens) => tokens.length), capacity)) {
    /** @type {Float32Array | null} */ let found = null;
    while (!found) {
      await host.breath();
      if (signal?.aborted) throw signal.reason;
      found = await attempt(host, rowsOf(run.map((i) => lists[i])), run.length);
    }
    run.forEach((text, k) => vectors.set(found.subarray(k * dimensions, (k + 1) * dimensions), text * dimensions));
    onProgress((done += run.length));
  }
  return vectors;
}

/** @typedef {{engine: any, breath: () => Promise<void>, recover: (error: any) => Promise<any>}} Host */

/** Null where it must be run again: somebody was cancelled, perhaps another one, or the engine broke and made room for the next. @param {Host} host @param {ReturnType<typeof rowsOf>} rows @param {number} count */
async function attempt(host, rows, count) {
  try {
    return host.engine.embed(rows, count);
  } catch (error) {
    await host.recover(error); // throws it where no other build is left
    return null;
  }
}

/** What a run of these texts reads. @param {number[][]} texts token ids */
export const rowsOf = (texts) => ({
  tokens: texts.flat(), positions: texts.flatMap((tokens) => tokens.map((_, at) => at)), sequences: texts.flatMap((tokens, i) => tokens.map(() => i)),
});
