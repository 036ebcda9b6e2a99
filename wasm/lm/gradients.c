// Small parts of a backward pass: gradients element by element, columns of rows.
#include "elementwise.h"

// s and 1 - s for s = 1 / (1 + e^-u), each without cancellation
typedef struct {
  v128_t s, rest;
} logistic;

INLINE logistic logistic4(v128_t u) {
  v128_t far = wasm_f32x4_div(SPLAT(1), wasm_f32x4_add(SPLAT(1), exp4(wasm_f32x4_abs(u)))), near = wasm_f32x4_sub(SPLAT(1), far);
  v128_t negative = wasm_f32x4_lt(u, SPLAT(0));
  return (logistic){wasm_v128_bitselect(far, near, negative), wasm_v128_bitselect(near, far, negative)};
}

INLINE v128_t silu_grad4(v128_t x) {  // s + x s (1 - s)
  logistic l = logistic4(x);
  return madd(wasm_f32x4_mul(x, l.rest), l.s, l.s);
}

INLINE v128_t gelu_tanh_grad4(v128_t x) {  // s + x s (1 - s) u', s = 1 / (1 + e^-u); beyond 16 it is 0 or 1, and u would leave the range of f32
  x = wasm_f32x4_pmax(wasm_f32x4_pmin(x, SPLAT(16)), SPLAT(-16));
  v128_t square = wasm_f32x4_mul(x, x);
  logistic l = logistic4(wasm_f32x4_mul(x, madd(square, SPLAT(0.0713548162726f), SPLAT(1.59576912161f))));
  v128_t slope = madd(square, SPLAT(0.2140644488178f), SPLAT(1.59576912161f));
  return madd(wasm_f32x4_mul(wasm_f32x4_mul(x, slope), l.rest), l.s, l.s);
}

INLINE v128_t gelu_erf_grad4(v128_t x) {  // Phi(x) + x e^(-x^2 / 2) / sqrt(2 pi)
  v128_t tail = wasm_f32x4_mul(erfc4(wasm_f32x4_mul(wasm_f32x4_abs(x), SPLAT(0.707106781f))), SPLAT(0.5f));
  v128_t phi = wasm_v128_bitselect(tail, wasm_f32x4_sub(SPLAT(1), tail), wasm_f32x4_lt(x, SPLAT(0)));
  v128_t bell = exp4_or_zero(wasm_f32x4_mul(wasm_f32x4_mul(x, x), SPLAT(-0.5f)));
  return madd(wasm_f32x4_mul(x, SPLAT(0.398942280f)), bell, phi);
}

INLINE v128_t slope4(v128_t x, uint32_t act) {
  switch (act) {
    case ACT_SILU: return silu_grad4(x);
    case ACT_GELU: return gelu_tanh_grad4(x);
    case ACT_GELU_ERF: return gelu_erf_grad4(x);
    case ACT_RELU: return wasm_v128_andnot(SPLAT(1), wasm_f32x4_le(x, SPLAT(0)));
    default: return SPLAT(1);
  }
}

#define SLOPE(act) LOOP(slope_##act, wasm_f32x4_mul(slope4(x, ACT_##act), y))
#define SLOPE_LOOP(act) [ACT_##act] = slope_##act,
ACTS(SLOPE)
static loop *const slopes[] = {ACTS(SLOPE_LOOP)};

typedef struct {
  const float *x, *dy;  // n x d
  float *out;           // n x d
  int32_t n, d;
  uint32_t act;
} activation_grad_args;

// dy * act'(x); relu's slope at 0 is 0
OP(activation_grad) { return a->act > ACT_RELU ? INVALID_PARAMS : each(slopes[a->act], a->x, a->dy, a->out, a->n, a->d, 0, thread, threads); }

LOOP(uncapped, wasm_f32x4_mul(y, sech_squared4(wasm_f32x4_div(x, k))))

typedef struct {
  const float *x, *dy;  // n x d
  float *out;           // n x d
  int32_t n, d;
  float cap;
} softcap_grad_args;

// dy * (1 - tanh(x / cap)^2)
OP(softcap_grad) { return a->cap > 0 ? each(uncapped, a->x, a->dy, a->out, a->n, a->d, a->cap, thread, threads) : INVALID_PARAMS; }

typedef struct {
  const float *x;  // n x d
  float *y;        // n x width
  int32_t n, d, first, width;
} columns_args;

// y = x[:, first : first + width]. Threads split rows.
OP(columns) {
  if (a->n < 0 || a->first < 0 || a->width <= 0 || a->d < a->width || a->first > a->d - a->width) return INVALID_PARAMS;
  int row, end;
  share(a->n, 1, thread, threads, &row, &end);
  for (; row < end; row++) __builtin_memcpy(a->y + (size_t)row * a->width, a->x + (size_t)row * a->d + a->first, 4u * a->width);
  return OK;
}
