/**
 * How many threads run this model fastest on this machine, now: the beginning of the Program with one row, each number of threads in turn, best
 * of a few. Cores that other programs use make more threads slower: then fewer win.
 */

const ROUNDS = 6;
/** More threads must win by this much: they cost the rest of the machine something. */
const GAIN = 0.9;

/** @param {{plan: {probe: number}, execute: (program: number, threads: number, sizes: Record<string, number>) => boolean}} engine @param {number} most */
export function fasterThreads(engine, most, now = () => performance.now()) {
  const counts = [1, 2, 4, 8].filter((count) => count < most).concat(most > 1 ? [most] : [1]);
  const times = counts.map(() => Infinity);
  for (let round = 0; round < ROUNDS; round++) {
    counts.forEach((threads, i) => {
      const before = now();
      engine.execute(engine.plan.probe, threads, { n: 1, m: 0, s: 1 });
      if (round) times[i] = Math.min(times[i], now() - before); // the first warms up
    });
  }
  let best = 0;
  times.forEach((time, i) => { if (time < GAIN * times[best]) best = i; });
  return counts[best];
}
