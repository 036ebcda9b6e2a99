// The language engine's internal ABI: what every kernel in wasm/lm/ is given and answers.
//
//   OP(name) { … return OK; }      int op_name(const name_args *a, int thread, int threads)
//
// An argument block is a struct of 4-byte words in the order of the row in edgenet/kernels/lm/table.py (a test compares the two); a weight is
// two words. Work is split by output rows, heads or rows, never inside a sum, and every element is computed by the same operations whatever
// its place in a vector, a batch or a thread's share: results do not depend on how work is split. Kernels keep no state and use no C library.
// They may use up to 80 KiB of stack: each thread has one of its own, of 128.
#pragma once
#include "../ops/vector.h"

enum { ABORTED = 100, STALLED = 101 };  // what `run` answers beside the codes of kernels
enum { ACT_NONE, ACT_SILU, ACT_GELU, ACT_GELU_ERF, ACT_RELU };
enum { STYLE_NEOX, STYLE_NORM };
enum { KV_F32, KV_Q8, KV_Q4 };
enum { POOL_MEAN, POOL_CLS, POOL_LAST };

#define MAX_THREADS 8
#define MAX_WORDS 32
#define MAX_HEAD_DIM 256
#define MAX_LORA_RANK 256

#define OP(name) int op_##name(const name##_args *a, int thread, int threads)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

// A matrix in engine memory: address and layout code.
typedef struct {
  const uint8_t *at;
  uint32_t layout;
} weight;

// Thread t of T takes items [*begin, *end) of `count`, in whole multiples of `unit` but for the last.
static inline void share(int count, int unit, int thread, int threads, int *begin, int *end) {
  int units = (count + unit - 1) / unit, to = row_begin(units, thread + 1, threads) * unit;
  *begin = row_begin(units, thread, threads) * unit;
  *end = to < count ? to : count;
}

// Every index in [0, limit).
static inline int in_range(const int32_t *index, int count, int limit) {
  for (int i = 0; i < count; i++)
    if ((uint32_t)index[i] >= (uint32_t)limit) return 0;
  return 1;
}

// Up to 4 floats as a vector (the rest 0), so that tails go through the same operations as whole vectors.
static inline v128_t load_some(const float *x, int n) {
  if (n >= 4) return LOAD(x);
  float v[4] = {0};
  for (int i = 0; i < n; i++) v[i] = x[i];
  return LOAD(v);
}

static inline void store_some(float *y, v128_t v, int n) {
  if (n >= 4) {
    wasm_v128_store(y, v);
    return;
  }
  float some[4];
  wasm_v128_store(some, v);
  for (int i = 0; i < n; i++) y[i] = some[i];
}
