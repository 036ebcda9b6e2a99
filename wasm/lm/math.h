// exp, tanh, erf and the activations on four floats at once, by minimax polynomials of our own. Relative errors for finite arguments: exp 2e-7,
// tanh 3e-7, activations 5e-7 (test_lm_kernels.py holds them to 2e-6). NaN stays NaN.
#pragma once
#include "lm.h"

#define SPLAT(x) wasm_f32x4_const_splat(x)

// a * b + c, with two roundings in every build unless `fused`
INLINE v128_t mad(v128_t a, v128_t b, v128_t c, int fused) { return fused ? madd(a, b, c) : wasm_f32x4_add(wasm_f32x4_mul(a, b), c); }

// e^x for x from -87.3 (smaller ones count as that) to 88.3; Inf above. x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, n times the first is exact.
INLINE v128_t exp_with(v128_t x, int fused) {
  x = wasm_f32x4_pmin(x, SPLAT(89));  // n is 128 then, whose exponent makes Inf. pmin(x, y) is x when either is NaN
  x = wasm_f32x4_pmax(x, SPLAT(-87.3f));
  v128_t near = wasm_f32x4_add(wasm_f32x4_mul(x, SPLAT(1.44269504f)), SPLAT(0x1.8p23f));  // its last bits are n: there is no room for a fraction
  v128_t n = wasm_f32x4_sub(near, SPLAT(0x1.8p23f));
  v128_t r = mad(n, SPLAT(2.12194440e-4f), mad(n, SPLAT(-0.693359375f), x, fused), fused);
  v128_t p = mad(SPLAT(1.3814465e-3f), r, SPLAT(8.36878084e-3f), fused);
  p = mad(p, r, SPLAT(4.16683943e-2f), fused);
  p = mad(p, r, SPLAT(1.66665201e-1f), fused);
  p = mad(p, r, SPLAT(4.99999934e-1f), fused);
  p = wasm_f32x4_add(mad(p, wasm_f32x4_mul(r, r), r, fused), SPLAT(1));
  return wasm_f32x4_mul(p, wasm_i32x4_add(wasm_i32x4_shl(near, 23), wasm_i32x4_const_splat(127 << 23)));
}

INLINE v128_t exp4(v128_t x) { return exp_with(x, 1); }

// As exp4 for x <= 0, but exactly 0 below -87.3, so that a score of -Inf weighs nothing.
INLINE v128_t exp4_or_zero(v128_t x) { return wasm_v128_andnot(exp4(x), wasm_f32x4_lt(x, SPLAT(-87.3f))); }

INLINE v128_t tanh4(v128_t x) {
  v128_t size = wasm_f32x4_abs(x), z = wasm_f32x4_mul(x, x), one = SPLAT(1);
  v128_t p = madd(SPLAT(-5.71703253e-3f), z, SPLAT(2.06505756e-2f));
  p = madd(p, z, SPLAT(-5.37434943e-2f));
  p = madd(p, z, SPLAT(1.33314912e-1f));
  p = madd(p, z, SPLAT(-3.33332839e-1f));
  v128_t small = madd(wasm_f32x4_mul(p, z), x, x);
  v128_t e = exp4(wasm_f32x4_mul(size, SPLAT(-2)));
  v128_t large = wasm_f32x4_div(wasm_f32x4_sub(one, e), wasm_f32x4_add(one, e));
  large = wasm_v128_or(large, wasm_v128_and(x, SPLAT(-0.0f)));
  return wasm_v128_bitselect(small, large, wasm_f32x4_lt(size, SPLAT(0.625f)));
}

// 1 - tanh(x)^2, also where tanh is 1 but for rounding
INLINE v128_t sech_squared4(v128_t x) {
  v128_t e = exp4_or_zero(wasm_f32x4_mul(wasm_f32x4_abs(x), SPLAT(-2))), near = wasm_f32x4_add(SPLAT(1), e);
  return wasm_f32x4_div(wasm_f32x4_mul(SPLAT(4), e), wasm_f32x4_mul(near, near));
}

// 1 - erf(z) for z >= 0: e^(-z^2) times a polynomial in 1 / (1 + 0.45 z)
INLINE v128_t erfc4(v128_t z) {
  v128_t t = wasm_f32x4_div(SPLAT(1), madd(z, SPLAT(0.45f), SPLAT(1)));
  v128_t p = madd(SPLAT(6.68488484e-2f), t, SPLAT(-2.40165377e-1f));
  p = madd(p, t, SPLAT(2.08610239e-1f));
  p = madd(p, t, SPLAT(4.0543286e-2f));
  p = madd(p, t, SPLAT(1.88500561e-1f));
  p = madd(p, t, SPLAT(2.28124276e-1f));
  p = madd(p, t, SPLAT(2.53629104e-1f));
  p = madd(p, t, SPLAT(2.53909368e-1f));
  return wasm_f32x4_mul(wasm_f32x4_mul(p, t), exp4_or_zero(wasm_f32x4_neg(wasm_f32x4_mul(z, z))));
}

INLINE v128_t sigmoid_times(v128_t x, v128_t u) { return wasm_f32x4_div(x, wasm_f32x4_add(SPLAT(1), exp4(wasm_f32x4_neg(u)))); }  // x / (1 + e^-u)

INLINE v128_t gelu_tanh4(v128_t x) {  // x / 2 (1 + tanh u) = x / (1 + e^(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
  v128_t cubic = madd(wasm_f32x4_mul(x, x), SPLAT(0.0713548162726f), SPLAT(1.59576912161f));
  return sigmoid_times(x, wasm_f32x4_mul(x, cubic));
}

INLINE v128_t gelu_erf4(v128_t x) {  // x Phi(x), and Phi(-|x|) = erfc(|x| / sqrt 2) / 2
  v128_t tail = wasm_f32x4_mul(erfc4(wasm_f32x4_mul(wasm_f32x4_abs(x), SPLAT(0.707106781f))), SPLAT(0.5f));
  v128_t phi = wasm_v128_bitselect(tail, wasm_f32x4_sub(SPLAT(1), tail), wasm_f32x4_lt(x, SPLAT(0)));
  return wasm_f32x4_mul(x, phi);
}

// `act` is a constant wherever this is used in a loop
INLINE v128_t activate(v128_t x, uint32_t act) {
  switch (act) {
    case ACT_SILU: return sigmoid_times(x, x);
    case ACT_GELU: return gelu_tanh4(x);
    case ACT_GELU_ERF: return gelu_erf4(x);
    case ACT_RELU: return wasm_f32x4_max(x, SPLAT(0));
    default: return x;
  }
}

// ln x for a normal x > 0 and its limits: x = m 2^e, ln m = 2 artanh((m - 1) / (m + 1)) with |m - 1| / (m + 1) <= 0.172. Relative error 1e-14.
static inline double ln(double x) {
  if (!(x > 0) || x == __builtin_inf()) return x == 0 ? -__builtin_inf() : x < 0 ? __builtin_nan("") : x;
  uint64_t bits;
  __builtin_memcpy(&bits, &x, 8);
  int exponent = (int)(bits >> 52) - 1023;
  bits = (bits & 0xFFFFFFFFFFFFFull) | 1023ull << 52;
  double m;
  __builtin_memcpy(&m, &bits, 8);
  if (m > 1.4142135623730951) m /= 2, exponent++;
  double z = (m - 1) / (m + 1), square = z * z, sum = 0;
  for (int k = 17; k > 0; k -= 2) sum = sum * square + 1.0 / k;
  return 2 * z * sum + exponent * 0.6931471805599453;
}
