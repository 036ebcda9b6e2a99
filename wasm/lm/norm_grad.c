// Norms of heads, and the gradients of RMSNorm and LayerNorm with respect to their inputs (weights are frozen). Numbers are f64 between: a
// gradient is a small difference of large terms wherever a row points along itself. Threads split rows.
#include "norm.h"

// Four numbers in f64.
typedef struct {
  v128_t low, high;
} wide;

INLINE wide widened(v128_t v) { return (wide){wasm_f64x2_promote_low_f32x4(v), wasm_f64x2_promote_low_f32x4(wasm_i32x4_shuffle(v, v, 2, 3, 2, 3))}; }
INLINE v128_t narrowed(wide v) { return wasm_i32x4_shuffle(wasm_f32x4_demote_f64x2_zero(v.low), wasm_f32x4_demote_f64x2_zero(v.high), 0, 1, 4, 5); }
INLINE wide times(wide v, wide w) { return (wide){wasm_f64x2_mul(v.low, w.low), wasm_f64x2_mul(v.high, w.high)}; }
INLINE wide plus(wide v, wide w) { return (wide){wasm_f64x2_add(v.low, w.low), wasm_f64x2_add(v.high, w.high)}; }
INLINE wide four(double x) { return (wide){wasm_f64x2_splat(x), wasm_f64x2_splat(x)}; }

static inline double total(wide v) {
  v128_t s = wasm_f64x2_add(v.low, v.high);
  return wasm_f64x2_extract_lane(s, 0) + wasm_f64x2_extract_lane(s, 1);
}

// A row of d numbers and what is known of it: h = (x - mean) * inverse, whose gradient is g = dy * weight.
typedef struct {
  const float *x, *weight, *dy;  // weight: or 0
  float *dx;                     // may be x or dy
  int d;
  row_moments at;
} norm_row;

INLINE wide h_at(const norm_row *r, int i) {
  return times(plus(widened(load_some(r->x + i, r->d - i)), four(-r->at.mean)), four(r->at.inverse));
}

INLINE wide g_at(const norm_row *r, int i) {
  wide dy = widened(load_some(r->dy + i, r->d - i));
  return r->weight ? times(dy, widened(load_some(r->weight + i, r->d - i))) : dy;
}

// dx = inverse * (g - h * mean(g h)), less mean(g) where the mean was taken out of x
static void norm_row_grad(const norm_row *r, int centred) {
  wide along = four(0), sum = along;
  for (int i = 0; i < r->d; i += 4) {  // behind the row's end g is 0
    wide g = g_at(r, i);
    along = plus(along, times(g, h_at(r, i))), sum = plus(sum, g);
  }
  wide tilt = four(-total(along) / r->d), shift = four(centred ? -total(sum) / r->d : 0);
  for (int i = 0; i < r->d; i += 4) {
    wide v = plus(plus(g_at(r, i), shift), times(h_at(r, i), tilt));
    store_some(r->dx + i, narrowed(times(v, four(r->at.inverse))), r->d - i);
  }
}

typedef struct {
  const float *x;       // n x heads x d
  const float *weight;  // d, or 0
  float *y;             // n x heads x d; may be x
  int32_t n, heads, d;
  float eps;
} head_norm_args;

// RMSNorm of each head
OP(head_norm) {
  if (a->n < 0 || a->heads <= 0 || a->d <= 0) return INVALID_PARAMS;
  int row, end, d = a->d;
  share(a->n * a->heads, 1, thread, threads, &row, &end);
  for (; row < end; row++) {
    const float *x = a->x + (size_t)row * d;
    v128_t inverse = wasm_f32x4_splat((float)rms_inverse(x, d, a->eps));
    for (int i = 0; i < d; i += 4) store_some(a->y + (size_t)row * d + i, rms_at(x, a->weight, inverse, i, d - i), d - i);
  }
  return OK;
}

typedef struct {
  const float *x;       // n x heads x d
  const float *weight;  // d, or 0
  const float *dy;      // n x heads x d
  float *dx;            // n x heads x d; may be x or dy
  int32_t n, heads, d;
  float eps;
} rms_norm_grad_args;

OP(rms_norm_grad) {
  if (a->n < 0 || a->heads <= 0 || a->d <= 0) return INVALID_PARAMS;
  int row, end, d = a->d;
  share(a->n * a->heads, 1, thread, threads, &row, &end);
  for (; row < end; row++) {
    size_t at = (size_t)row * d;
    norm_row r = {a->x + at, a->weight, a->dy + at, a->dx + at, d, {0, rms_inverse(a->x + at, d, a->eps)}};
    norm_row_grad(&r, 0);
  }
  return OK;
}

typedef struct {
  const float *x;       // n x d
  const float *weight;  // d
  const float *dy;      // n x d
  float *dx;            // n x d; may be x or dy
  int32_t n, d;
  float eps;
} layer_norm_grad_args;

OP(layer_norm_grad) {
  if (a->n < 0 || a->d <= 0) return INVALID_PARAMS;
  int row, end, d = a->d;
  share(a->n, 1, thread, threads, &row, &end);
  for (; row < end; row++) {
    size_t at = (size_t)row * d;
    norm_row r = {a->x + at, a->weight, a->dy + at, a->dx + at, d, moments_of(a->x + at, d, a->eps)};
    norm_row_grad(&r, 1);
  }
  return OK;
}
