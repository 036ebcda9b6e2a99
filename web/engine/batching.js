/**
 * Which texts go through the model together. Pure. Texts are sorted by length and cut into batches so that a run's fixed cost
 * and the padding of unequal lengths add up to the least (dynamic programming over the sorted lengths).
 */

export const MOST_TOKENS = 512; // per batch, padding included: bounds how long an abort waits to be heard
const RUN_COST = 3;             // what a run costs beyond its tokens, in tokens: a guess, small beside any text

/** @typedef {{rows: number[], length: number}} Batch `rows` are indices into the lengths; every row is padded to `length` */

/**
 * @param {ArrayLike<number>} lengths tokens of each text
 * @param {number} [mostTokens] limit for rows × length, unless one row alone is longer
 * @returns {Batch[]} every index once; the longest texts last
 */
export function planBatches(lengths, mostTokens = MOST_TOKENS) {
  const order = Array.from(lengths, (_, i) => i).sort((a, b) => lengths[a] - lengths[b] || a - b);
  const from = cheapestCuts(order.map((i) => lengths[i]), mostTokens);
  const batches = [];
  for (let end = order.length; end > 0; end = from[end]) {
    batches.push({ rows: order.slice(from[end], end), length: lengths[order[end - 1]] });
  }
  return batches.reverse();
}

/** For each end of a sorted list, where its last batch begins in the cheapest partition. @param {number[]} sorted @param {number} most */
function cheapestCuts(sorted, most) {
  const cost = new Float64Array(sorted.length + 1);
  const from = new Int32Array(sorted.length + 1);
  for (let end = 1; end <= sorted.length; end++) {
    const length = sorted[end - 1];
    cost[end] = Infinity;
    for (let start = end - 1; start >= 0 && (start === end - 1 || (end - start) * length <= most); start--) {
      const total = cost[start] + RUN_COST + (end - start) * length;
      if (total < cost[end]) [cost[end], from[end]] = [total, start];
    }
  }
  return from;
}
