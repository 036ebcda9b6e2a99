/** What changed between two rankings. Pure. */

/**
 * @param {{id: string}[]} before @param {{id: string}[]} after best first
 * @param {number} [limit] ranks looked at
 * @returns {{id: string, from: number|null, to: number|null}[]} ranks from 1; null: not among the first `limit`. In the new order, those that left last
 */
export function moves(before, after, limit = 10) {
  const from = new Map(before.slice(0, limit).map(({ id }, i) => [id, i + 1]));
  const to = new Map(after.slice(0, limit).map(({ id }, i) => [id, i + 1]));
  return [...new Set([...to.keys(), ...from.keys()])].map((id) => ({ id, from: from.get(id) ?? null, to: to.get(id) ?? null }));
}

/** In words, for people who do not see the figure. @param {{from: number|null, to: number|null}} move @param {string} name */
export function say({ from, to }, name) {
  if (from === to) return `${name} stays at ${to}`;
  if (from === null) return `${name} is new at ${to}`;
  if (to === null) return `${name} left the list from ${from}`;
  return `${name} ${to < from ? "rises" : "falls"} from ${from} to ${to}`;
}
