// Walks a lowered program. The loader has validated it; what is checked here costs nothing beside a kernel and keeps a damaged program from
// calling outside the table.
#include "interpreter.h"

#define MAX_SLOTS 16

// One op with slots replaced by their values. Kernels get a copy: other threads read the same record.
static int execute(const control *c, const uint32_t *record, int thread, int threads) {
  uint32_t op = record[0] & 0xffff, words = record[0] >> 16, slots = record[2], args[MAX_WORDS];
  if (op >= op_count || words > MAX_WORDS) return INVALID_PARAMS;
  for (uint32_t i = 0; i < words; i++) {
    uint32_t word = record[3 + i], is_slot = slots >> i & 1;
    if (is_slot && word >= MAX_SLOTS) return INVALID_PARAMS;
    args[i] = is_slot ? c->slots[word] : word;
  }
  return op_table[op](args, thread, threads);
}

static void fail(control *c, int code) {
  uint32_t none = OK;
  __atomic_compare_exchange_n(&c->code, &none, (uint32_t)code, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

// After a failure a thread executes nothing more, but still goes to the next barrier, where all learn of it and leave together.
int walk(const program *p, int thread, int threads) {
  control *c = p->control;
  uint32_t run = c->run;
  int code = OK;
  for (const uint32_t *record = p->records; *record != END; record += 3 + (*record >> 16)) {
    if (code == OK && (code = execute(c, record, thread, threads))) fail(c, code);
    if (!record[1]) continue;
    int outcome = meet(c, run, threads);
    if (outcome) return outcome;
  }
  return meet(c, run, threads);
}

// Runs a program on `threads` threads as thread 0 (the others wait in thread_main) and answers 0, a kernel's code, ABORTED or STALLED. After
// STALLED (a thread that never came) the instance must be thrown away.
EXPORT(run) int run(const program *p, int thread, int threads) {
  if (threads < 1 || threads > MAX_THREADS || thread < 0 || thread >= threads) return INVALID_PARAMS;
  if (thread == 0) {
    p->control->code = OK;
    if (threads > 1 && start_threads(p->control, p, threads)) return STALLED;
  }
  return walk(p, thread, threads);
}
