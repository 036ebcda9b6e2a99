/** Vectors as they are stored: records of n×dim float32, keyed by their first row. Pure; runs anywhere. */

/** Groups items whose rows follow one another. @template {{row: number}} T @param {T[]} items by row @returns {T[][]} */
export function runs(items) {
  const found = [];
  for (const item of items) {
    if (found.length && found.at(-1).at(-1).row + 1 === item.row) found.at(-1).push(item);
    else found.push([item]);
  }
  return found;
}

/** n vectors of one length as one Float32Array n×dim. @param {Float32Array[]} vectors at least one */
export function concat(vectors) {
  const dim = vectors[0].length;
  const all = new Float32Array(vectors.length * dim);
  vectors.forEach((vector, i) => all.set(vector, i * dim));
  return all;
}

/** Row → vector (views, no copies). @param {Map<number, Float32Array>} records @param {number} dim @returns {Map<number, Float32Array>} */
export function rowsOf(records, dim) {
  const rows = new Map();
  for (const [first, vectors] of records) {
    for (let i = 0; i * dim < vectors.length; i++) rows.set(first + i, vectors.subarray(i * dim, (i + 1) * dim));
  }
  return rows;
}
