/** Texts through an encoder: rows of many texts packed into one run, none of them padding. Worker and Node. */
import { AbortError } from "../../sdk/errors.js";

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
 * @param {{engine: any, breath: () => Promise<void>}} host @param {number[][]} texts token ids; one longer than a run holds loses its end, but for its last token
 * @param {{signal?: AbortSignal, onProgress?: (done: number) => void}} [options] @returns {Promise<Float32Array>} n x dimensions, in the order of the texts
 */
export async function embed({ engine, breath }, texts, { signal, onProgress = () => {} } = {}) {
  const { capacity, dimensions } = engine;
  const most = Math.min(capacity.rows, capacity.context);
  const lists = texts.map((tokens) => (tokens.length > most ? [...tokens.slice(0, most - 1), /** @type {number} */ (tokens.at(-1))] : tokens));
  const vectors = new Float32Array(texts.length * dimensions);
  let done = 0;
  for (const run of packs(lists.map((tokens) => tokens.length), capacity)) {
    await breath();
    if (signal?.aborted) throw signal.reason;
    const found = engine.embed(rowsOf(run.map((i) => lists[i])), run.length);
    if (!found) throw new AbortError("Embedding was stopped.");
    run.forEach((text, k) => vectors.set(found.subarray(k * dimensions, (k + 1) * dimensions), text * dimensions));
    onProgress((done += run.length));
  }
  return vectors;
}

/** What a run of these texts reads. @param {number[][]} texts token ids */
export const rowsOf = (texts) => ({
  tokens: texts.flat(), positions: texts.flatMap((tokens) => tokens.map((_, at) => at)), sequences: texts.flatMap((tokens, i) => tokens.map(() => i)),
});
