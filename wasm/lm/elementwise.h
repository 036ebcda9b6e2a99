// Loops over n rows of d, element by element: a thread's share is a range of the n * d numbers. The output may be one of the inputs.
#pragma once
#include "math.h"

#define ACTS(X) X(NONE) X(SILU) X(GELU) X(GELU_ERF) X(RELU)

// out = f(x, y, k) for `count` numbers, a multiple of 4
typedef void loop(const float *x, const float *y, float *out, v128_t k, int count);

#define LOOP(name, value)                                                           \
  static void name(const float *xs, const float *ys, float *out, v128_t k, int count) { \
    for (int i = 0; i < count; i += 4) {                                            \
      v128_t x = LOAD(xs + i), y = LOAD(ys + i);                                    \
      (void)y, (void)k;                                                             \
      wasm_v128_store(out + i, value);                                              \
    }                                                                               \
  }

// The last numbers of all go through the same loop, from and to a vector of their own.
static int each(loop *f, const float *x, const float *y, float *out, int n, int d, float k, int thread, int threads) {
  if (n < 0 || d <= 0) return INVALID_PARAMS;
  int begin, end;
  share(n * d, 16, thread, threads, &begin, &end);
  int whole = (end - begin) & ~3, left = (end - begin) & 3, last = begin + whole;
  v128_t constant = wasm_f32x4_splat(k);
  f(x + begin, y + begin, out + begin, constant, whole);
  if (left) {
    float xs[4], ys[4];
    wasm_v128_store(xs, load_some(x + last, left));
    wasm_v128_store(ys, load_some(y + last, left));
    f(xs, ys, xs, constant, 4);
    store_some(out + last, LOAD(xs), left);
  }
  return OK;
}
