// Vector helpers on f32 arrays of any length n >= 0 and any alignment (tails are scalar).
#pragma once
#include "../edgenet.h"

#define LOAD(p) wasm_v128_load(p)

// sum of a[i] * b[i]; four accumulators hide the latency of the addition
static inline float dot(const float *a, const float *b, int n) {
  v128_t s0 = wasm_f32x4_const_splat(0), s1 = s0, s2 = s0, s3 = s0;
  int i = 0;
  for (; i + 16 <= n; i += 16) {
    s0 = madd(LOAD(a + i), LOAD(b + i), s0);
    s1 = madd(LOAD(a + i + 4), LOAD(b + i + 4), s1);
    s2 = madd(LOAD(a + i + 8), LOAD(b + i + 8), s2);
    s3 = madd(LOAD(a + i + 12), LOAD(b + i + 12), s3);
  }
  for (; i + 4 <= n; i += 4) s0 = madd(LOAD(a + i), LOAD(b + i), s0);
  float s = hsum(wasm_f32x4_add(wasm_f32x4_add(s0, s1), wasm_f32x4_add(s2, s3)));
  for (; i < n; i++) s += a[i] * b[i];
  return s;
}

// two dot products that share b: out[0] = a0 . b, out[1] = a1 . b
static inline void dot2(const float *a0, const float *a1, const float *b, int n, float *out) {
  v128_t s0 = wasm_f32x4_const_splat(0), s1 = s0, t0 = s0, t1 = s0;
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    v128_t u = LOAD(b + i), w = LOAD(b + i + 4);
    s0 = madd(LOAD(a0 + i), u, s0);
    t0 = madd(LOAD(a1 + i), u, t0);
    s1 = madd(LOAD(a0 + i + 4), w, s1);
    t1 = madd(LOAD(a1 + i + 4), w, t1);
  }
  float s = hsum(wasm_f32x4_add(s0, s1)), t = hsum(wasm_f32x4_add(t0, t1));
  for (; i < n; i++) {
    s += a0[i] * b[i];
    t += a1[i] * b[i];
  }
  out[0] = s;
  out[1] = t;
}

// y = base + c * a; y may be base
static inline void axpy(float *y, const float *base, float c, const float *a, int n) {
  v128_t k = wasm_f32x4_splat(c);
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    wasm_v128_store(y + i, madd(k, LOAD(a + i), LOAD(base + i)));
    wasm_v128_store(y + i + 4, madd(k, LOAD(a + i + 4), LOAD(base + i + 4)));
  }
  for (; i < n; i++) y[i] = base[i] + c * a[i];
}

// y = base + c * a + d * b; y may be base
static inline void axpy2(float *y, const float *base, float c, const float *a, float d, const float *b, int n) {
  v128_t k = wasm_f32x4_splat(c), m = wasm_f32x4_splat(d);
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    wasm_v128_store(y + i, madd(m, LOAD(b + i), madd(k, LOAD(a + i), LOAD(base + i))));
    wasm_v128_store(y + i + 4, madd(m, LOAD(b + i + 4), madd(k, LOAD(a + i + 4), LOAD(base + i + 4))));
  }
  for (; i < n; i++) y[i] = base[i] + c * a[i] + d * b[i];
}

// Eight accumulators: with fewer, this would wait for additions instead of for memory. Unsigned offsets become part of the load.
static inline int finite(const float *x, int n) {
  v128_t s[8] = {0};
  float tail = 0;
  for (; n >= 32; n -= 32, x += 32)
    _Pragma("clang loop unroll(full)") for (unsigned i = 0; i < 8; i++) s[i] = poison(s[i], LOAD(x + 4 * i));
  for (; n >= 4; n -= 4, x += 4) s[0] = poison(s[0], LOAD(x));
  for (; n > 0; n--, x++) tail += *x * 0;
  for (int i = 0; i < 4; i++) s[i] = wasm_f32x4_add(s[i], s[i + 4]);
  return is_clean(wasm_f32x4_add(wasm_f32x4_add(s[0], s[1]), wasm_f32x4_add(s[2], s[3]))) && tail == 0;
}

static inline void fill(float *y, float value, int n) {
  v128_t k = wasm_f32x4_splat(value);
  int i = 0;
  for (; i + 4 <= n; i += 4) wasm_v128_store(y + i, k);
  for (; i < n; i++) y[i] = value;
}

// sum of x[i]^2 in f64, which neither overflows nor underflows for any finite f32; NaN or Inf when x holds one
static inline double sum_squares(const float *x, int n) {
  v128_t s0 = wasm_f64x2_const_splat(0), s1 = s0;
  int i = 0;
  for (; i + 4 <= n; i += 4) {
    v128_t v = LOAD(x + i), lo = wasm_f64x2_promote_low_f32x4(v), hi = wasm_f64x2_promote_low_f32x4(wasm_i32x4_shuffle(v, v, 2, 3, 2, 3));
    s0 = wasm_f64x2_add(s0, wasm_f64x2_mul(lo, lo));
    s1 = wasm_f64x2_add(s1, wasm_f64x2_mul(hi, hi));
  }
  v128_t s = wasm_f64x2_add(s0, s1);
  double sum = wasm_f64x2_extract_lane(s, 0) + wasm_f64x2_extract_lane(s, 1);
  for (; i < n; i++) sum += (double)x[i] * x[i];
  return sum;
}
