// The engine's interpreter with a fault: thread THREAD traps in its ninth run of a program of more than LONGER instructions (a health check
// of single kernels finds only those of 0). Built in place of wasm/lm/interpreter.c.
#include "../../../wasm/lm/interpreter.h"

#undef EXPORT
#define EXPORT(name)
#define walk(...) sound_walk(__VA_ARGS__)
#define run(...) sound_run(__VA_ARGS__)
int walk(const program *p, int thread, int threads);
#include "../../../wasm/lm/interpreter.c"
#undef walk
#undef run

static void count(const program *p, int thread) {
  static int runs;
  int records = 0;
  for (const uint32_t *record = p->records; *record != END; record += 3 + (*record >> 16)) records++;
  if (records > LONGER && thread == THREAD && ++runs == 9) __builtin_trap();
}

// What an extra thread calls.
int walk(const program *p, int thread, int threads) {
  count(p, thread);
  return sound_walk(p, thread, threads);
}

// What the host calls.
__attribute__((export_name("run"))) int run(const program *p, int thread, int threads) {
  count(p, thread);
  return sound_run(p, thread, threads);
}
