// Barriers and the loop of the extra threads. A build without shared memory has one thread, for which a barrier only looks at the outcome.
#include "interpreter.h"

// Longer than any op: a thread that is not there by then is dead. Ticks, not the clock: a machine that was suspended has not been waiting.
#define TICK_NS 1000000000ll
#define TICKS 60

#define READ(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define WRITE(word, value) __atomic_store_n(&(word), value, __ATOMIC_RELEASE)

// A failed kernel goes before the host's wish.
static uint32_t outcome(control *c) { return c->code ? c->code : READ(c->abort) ? ABORTED : OK; }

#ifdef __wasm_atomics__

// 0 once `word` is no longer `old`, or STALLED after TICKS waits of `tick` ns; never if that is below 0. A short look first: sleeping and waking
// cost about 10 us, but to spin for long wastes the very core that a late thread may be waiting for.
static int wait_change(uint32_t *word, uint32_t old, uint32_t spin, int64_t tick) {
  for (; spin; spin--)
    if (READ(*word) != old) return OK;
  for (int ticks = TICKS; READ(*word) == old;)
    if (__builtin_wasm_memory_atomic_wait32((int *)word, (int)old, tick) == 2 && --ticks == 0) return STALLED;
  return OK;
}

static void wake(uint32_t *word) { __builtin_wasm_memory_atomic_notify((int *)word, MAX_THREADS); }

int meet(control *c, uint32_t run, int threads) {
  if (threads == 1) return (int)outcome(c);
  uint32_t passed = READ(c->passed);
  if (__atomic_add_fetch(&c->arrived, 1, __ATOMIC_ACQ_REL) == (uint32_t)threads) {
    c->outcome = outcome(c);
    c->arrived = 0;
    WRITE(c->passed, passed + 1);
    wake(&c->passed);
  } else if (wait_change(&c->passed, passed, c->spin, TICK_NS)) {
    return STALLED;
  }
  int found = (int)READ(c->outcome);
  return READ(c->run) == run ? found : ABORTED;  // so late that the next run has begun, perhaps without this thread: this one has ended
}

int start_threads(control *c, const program *p, int threads) {
  uint32_t all = (1u << threads) - 2, ready;
  while (((ready = READ(c->ready)) & all) != all)
    if (wait_change(&c->ready, ready, 0, TICK_NS)) return STALLED;
  c->program = (uint32_t)p;
  WRITE(c->run, ((c->run & ~15u) + 16) | (uint32_t)threads);
  wake(&c->run);
  return OK;
}

// Takes part in every run of more threads than `thread`. The last barrier of a run needs all who take part, so none of them can miss the next.
EXPORT(thread_main) void thread_main(control *c, int thread) {
  uint32_t seen = READ(c->run);
  __atomic_or_fetch(&c->ready, 1u << thread, __ATOMIC_ACQ_REL);
  wake(&c->ready);
  for (;;) {
    wait_change(&c->run, seen, c->spin, -1);
    seen = READ(c->run);
    int threads = seen & 15;
    if (threads == 0) return;
    if (thread < threads) walk((const program *)c->program, thread, threads);
  }
}

#else

int meet(control *c, uint32_t run, int threads) { return (int)outcome(c); }

int start_threads(control *c, const program *p, int threads) { return STALLED; }

#endif
