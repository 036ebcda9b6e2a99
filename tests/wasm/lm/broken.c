// The engine's interpreter with a fault: thread THREAD traps in its ninth run. Built in place of wasm/lm/interpreter.c.
#include "../../../wasm/lm/interpreter.h"

#undef EXPORT
#define EXPORT(name)
#define walk(...) sound_walk(__VA_ARGS__)
#define run(...) sound_run(__VA_ARGS__)
int walk(const program *p, int thread, int threads);
#include "../../../wasm/lm/interpreter.c"
#undef walk
#undef run

static void count(int thread) {
  static int runs;
  if (thread == THREAD && ++runs == 9) __builtin_trap();
}

// What an extra thread calls.
int walk(const program *p, int thread, int threads) {
  count(thread);
  return sound_walk(p, thread, threads);
}

// What the host calls.
__attribute__((export_name("run"))) int run(const program *p, int thread, int threads) {
  count(thread);
  return sound_run(p, thread, threads);
}
