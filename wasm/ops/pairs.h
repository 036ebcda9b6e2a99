// Passes of MicroLoRA over rank 2 and a width that is a multiple of 16: the usual shape, where every array is read once per pass.
// Offsets are unsigned, so that the compiler makes them part of the load: a signed one costs an addition per load.
#pragma once
#include "vector.h"

#define EACH_VECTOR(i) _Pragma("clang loop unroll(full)") for (unsigned i = 0; i < 16; i += 4)

static inline int is_pair(int d, int r) { return r == 2 && d % 16 == 0; }

static inline float sum4(const v128_t *s) { return hsum(wasm_f32x4_add(wasm_f32x4_add(s[0], s[1]), wasm_f32x4_add(s[2], s[3]))); }

// h = (a[0] . x, a[1] . x)
static inline void pair_project(const float *a, const float *x, unsigned n, float *h) {
  v128_t s[4] = {0}, t[4] = {0};
  for (const float *a1 = a + n, *end = a1; a < end; a += 16, a1 += 16, x += 16) EACH_VECTOR(i) {
    v128_t v = LOAD(x + i);
    s[i / 4] = madd(LOAD(a + i), v, s[i / 4]);
    t[i / 4] = madd(LOAD(a1 + i), v, t[i / 4]);
  }
  h[0] = sum4(s);
  h[1] = sum4(t);
}

// y = x + c0 b[0] + c1 b[1]; answers whether y is finite
static inline int pair_expand(float *y, const float *x, const float *b, unsigned n, float c0, float c1) {
  v128_t k = wasm_f32x4_splat(c0), m = wasm_f32x4_splat(c1), bad[4] = {0};
  for (const float *b1 = b + n, *end = b1; b < end; b += 16, b1 += 16, x += 16, y += 16) EACH_VECTOR(i) {
    v128_t v = madd(m, LOAD(b1 + i), madd(k, LOAD(b + i), LOAD(x + i)));
    bad[i / 4] = poison(bad[i / 4], v);
    wasm_v128_store(y + i, v);
  }
  return sum4(bad) == 0;
}

// y = x + c[0] b[0] + c[1] b[1] + c[2] p[0] + c[3] p[1]; answers whether y is finite
static inline int pair_expand_both(float *y, const float *x, const float *b, const float *p, unsigned n, const float *c) {
  v128_t k0 = wasm_f32x4_splat(c[0]), k1 = wasm_f32x4_splat(c[1]), k2 = wasm_f32x4_splat(c[2]), k3 = wasm_f32x4_splat(c[3]), bad[4] = {0};
  for (const float *b1 = b + n, *p1 = p + n, *end = b1; b < end; b += 16, b1 += 16, p += 16, p1 += 16, x += 16, y += 16) EACH_VECTOR(i) {
    v128_t v = madd(k1, LOAD(b1 + i), madd(k0, LOAD(b + i), LOAD(x + i)));
    v = madd(k3, LOAD(p1 + i), madd(k2, LOAD(p + i), v));
    bad[i / 4] = poison(bad[i / 4], v);
    wasm_v128_store(y + i, v);
  }
  return sum4(bad) == 0;
}

// h = (a[0] . x, a[1] . x) and an upper bound of |x|: 1 + x . x, which is Inf when a square leaves the range of f32
static inline float pair_measure(const float *a, const float *x, unsigned n, float *h) {
  v128_t s[4] = {0}, t[4] = {0}, q[4] = {0};
  for (const float *a1 = a + n, *end = a1; a < end; a += 16, a1 += 16, x += 16) EACH_VECTOR(i) {
    v128_t v = LOAD(x + i);
    s[i / 4] = madd(LOAD(a + i), v, s[i / 4]);
    t[i / 4] = madd(LOAD(a1 + i), v, t[i / 4]);
    q[i / 4] = madd(v, v, q[i / 4]);
  }
  h[0] = sum4(s);
  h[1] = sum4(t);
  return 1 + sum4(q);
}

// a[0] += c0 x, a[1] += c1 x
static inline void pair_step(float *a, const float *x, unsigned n, float c0, float c1) {
  v128_t k = wasm_f32x4_splat(c0), m = wasm_f32x4_splat(c1);
  for (float *a1 = a + n, *end = a1; a < end; a += 16, a1 += 16, x += 16) EACH_VECTOR(i) {
    v128_t v = LOAD(x + i);
    wasm_v128_store(a + i, madd(k, v, LOAD(a + i)));
    wasm_v128_store(a1 + i, madd(m, v, LOAD(a1 + i)));
  }
}
