/** What the host knows of the interpreter's own headers, wasm/lm/lm.h and interpreter.h: a test compares them. Constants; runs anywhere. */

/** `control`: 64 words; the numbers of those that a host touches. */
export const CONTROL = Object.freeze({ bytes: 256, run: 0, ready: 2, spin: 3, abort: 16, arrived: 32, passed: 33, code: 34, outcome: 35, slots: 48 });
/** The word that ends a lowered program. */
export const END = 0xffffffff;
export const MAX_THREADS = 8;
/** What `run` answers beside the codes of kernels; TRAPPED is our own, for a thread that a trap stopped. */
export const [ABORTED, STALLED, TRAPPED] = [100, 101, 102];
