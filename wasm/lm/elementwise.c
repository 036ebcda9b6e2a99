// Element by element over n rows of d: a thread's share is a range of the n * d numbers. The output may be one of the inputs.
#include "math.h"

typedef v128_t function(v128_t x, v128_t y, v128_t k);

// out = f(x, y, k); f is a constant, so that its code stands in the loop
INLINE int each(function *f, const float *x, const float *y, float *out, int n, int d, float k, int thread, int threads) {
  if (n < 0 || d <= 0) return INVALID_PARAMS;
  int i, end;
  share(n * d, 16, thread, threads, &i, &end);
  v128_t constant = wasm_f32x4_splat(k);
  for (; i + 4 <= end; i += 4) wasm_v128_store(out + i, f(LOAD(x + i), LOAD(y + i), constant));
  if (i < end) store_some(out + i, f(load_some(x + i, end - i), load_some(y + i, end - i), constant), end - i);
  return OK;
}

static inline v128_t sum(v128_t x, v128_t y, v128_t k) { return wasm_f32x4_add(x, y); }
static inline v128_t product(v128_t x, v128_t y, v128_t k) { return wasm_f32x4_mul(x, y); }
static inline v128_t times(v128_t x, v128_t y, v128_t k) { return wasm_f32x4_mul(x, k); }
static inline v128_t capped(v128_t x, v128_t y, v128_t k) { return wasm_f32x4_mul(k, tanh4(wasm_f32x4_div(x, k))); }

typedef struct {
  const float *x, *y;  // n x d
  float *out;          // n x d
  int32_t n, d;
} add_args;

OP(add) { return each(sum, a->x, a->y, a->out, a->n, a->d, 0, thread, threads); }

typedef struct {
  const float *x, *y;  // n x d
  float *out;          // n x d
  int32_t n, d;
} mul_args;

OP(mul) { return each(product, a->x, a->y, a->out, a->n, a->d, 0, thread, threads); }

typedef struct {
  const float *x;  // n x d
  float *out;      // n x d
  int32_t n, d;
  float factor;
} scale_args;

OP(scale) { return each(times, a->x, a->x, a->out, a->n, a->d, a->factor, thread, threads); }

typedef struct {
  const float *x;  // n x d
  float *out;      // n x d
  int32_t n, d;
  float cap;
} softcap_args;

// cap tanh(x / cap)
OP(softcap) { return a->cap > 0 ? each(capped, a->x, a->x, a->out, a->n, a->d, a->cap, thread, threads) : INVALID_PARAMS; }

#define ACTS(X) X(NONE) X(SILU) X(GELU) X(GELU_ERF) X(RELU)
#define FUNCTIONS(act)                                                                                   \
  static inline v128_t act_##act(v128_t x, v128_t y, v128_t k) { return activate(x, ACT_##act); }         \
  static inline v128_t act_##act##_times(v128_t x, v128_t y, v128_t k) { return wasm_f32x4_mul(activate(x, ACT_##act), y); }
ACTS(FUNCTIONS)

typedef struct {
  const float *x;  // n x d
  float *out;      // n x d
  int32_t n, d;
  uint32_t act;
} activation_args;

OP(activation) {
#define CASE(name) case ACT_##name: return each(act_##name, a->x, a->x, a->out, a->n, a->d, 0, thread, threads);
  switch (a->act) { ACTS(CASE) }
#undef CASE
  return INVALID_PARAMS;
}

typedef struct {
  const float *gate, *up;  // n x d
  float *out;              // n x d
  int32_t n, d;
  uint32_t act;
} glu_args;

// act(gate) * up
OP(glu) {
#define CASE(name) case ACT_##name: return each(act_##name##_times, a->gate, a->up, a->out, a->n, a->d, 0, thread, threads);
  switch (a->act) { ACTS(CASE) }
#undef CASE
  return INVALID_PARAMS;
}
