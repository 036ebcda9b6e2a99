// The parts of a norm: what is measured of a row, then four of its numbers at a time. Used by the plain, the quantising and the per-head norms.
#pragma once
#include "lm.h"

// 1 / sqrt(mean(x^2) + eps)
static inline double rms_inverse(const float *x, int d, float eps) { return 1 / __builtin_sqrt(sum_squares(x, d) / d + eps); }

// x / rms * weight at i; `left` numbers are there
INLINE v128_t rms_at(const float *x, const float *weight, v128_t inverse, int i, int left) {
  v128_t v = wasm_f32x4_mul(load_some(x + i, left), inverse);
  return weight ? wasm_f32x4_mul(v, load_some(weight + i, left)) : v;
}

typedef struct {
  double mean, inverse;  // inverse: 1 / sqrt(variance + eps)
} row_moments;

// Mean, then the sum of squares about it: a second pass over a row in cache is cheaper than what cancellation would lose.
static inline row_moments moments_of(const float *x, int d, float eps) {
  v128_t sum = wasm_f64x2_const_splat(0), squares = sum;
  for (int i = 0; i < d; i += 4) {
    v128_t v = load_some(x + i, d - i);
    sum = wasm_f64x2_add(sum, wasm_f64x2_add(wasm_f64x2_promote_low_f32x4(v), wasm_f64x2_promote_low_f32x4(wasm_i32x4_shuffle(v, v, 2, 3, 2, 3))));
  }
  double mean = (wasm_f64x2_extract_lane(sum, 0) + wasm_f64x2_extract_lane(sum, 1)) / d;
  v128_t center = wasm_f64x2_splat(mean);
  int i = 0;
  for (; i + 2 <= d; i += 2) {
    v128_t v = wasm_f64x2_sub(wasm_f64x2_promote_low_f32x4(wasm_v128_load64_zero(x + i)), center);
    squares = wasm_f64x2_add(squares, wasm_f64x2_mul(v, v));
  }
  double total = wasm_f64x2_extract_lane(squares, 0) + wasm_f64x2_extract_lane(squares, 1);
  if (i < d) total += (x[i] - mean) * (x[i] - mean);
  return (row_moments){mean, 1 / __builtin_sqrt(total / d + eps)};
}

typedef struct {
  v128_t mean, rest, inverse;  // mean + rest is the mean: in f32 alone it would spoil rows whose mean is large beside their spread
} moments;

static inline moments layer_moments(const float *x, int d, float eps) {
  row_moments m = moments_of(x, d, eps);
  float near = (float)m.mean;
  return (moments){wasm_f32x4_splat(near), wasm_f32x4_splat((float)(m.mean - near)), wasm_f32x4_splat((float)m.inverse)};
}

// (x - mean) / deviation * weight + bias at i
INLINE v128_t layer_at(const float *x, const float *weight, const float *bias, moments at, int i, int left) {
  v128_t v = wasm_f32x4_mul(wasm_f32x4_sub(wasm_f32x4_sub(load_some(x + i, left), at.mean), at.rest), at.inverse);
  v = wasm_f32x4_mul(v, load_some(weight + i, left));
  return bias ? wasm_f32x4_add(v, load_some(bias + i, left)) : v;
}
