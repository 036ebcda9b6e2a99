// swiglu_f32: y = x * gate * sigmoid(beta * gate), the gated activation of Shazeer 2020 (GLU variants). a = x, b = gate, out = y, all
// [rows][hidden]. Inner values are f64, so only the last rounding to f32 is lost.
#include "kernel.h"

typedef struct {
  uint32_t rows, hidden;
  float beta;
} params_t;

STATELESS(sizeof(params_t))

#define SPLAT wasm_f64x2_splat

// e^t for t <= 0: t = n ln 2 + r with |r| <= ln 2 / 2, a Taylor polynomial to r^11 (error below 1e-14), n put into the exponent. 0 below -708.
static v128_t exp_negative(v128_t t) {
  v128_t n = wasm_f64x2_nearest(wasm_f64x2_mul(wasm_f64x2_max(t, SPLAT(-708)), SPLAT(1.4426950408889634)));
  v128_t r = wasm_f64x2_sub(t, wasm_f64x2_mul(n, SPLAT(0.693147180559945309))), p = SPLAT(1.0 / 39916800);
  static const double inverse[] = {1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1, 1};
  for (int i = 0; i < 11; i++) p = wasm_f64x2_add(wasm_f64x2_mul(p, r), SPLAT(inverse[i]));
  v128_t exponent = wasm_i64x2_extend_low_i32x4(wasm_i32x4_trunc_sat_f64x2_zero(n));
  v128_t scale = wasm_i64x2_shl(wasm_i64x2_add(exponent, wasm_i64x2_splat(1023)), 52);
  return wasm_v128_and(wasm_f64x2_mul(p, scale), wasm_f64x2_ge(t, SPLAT(-708)));
}

// By e^-|z|, which cannot overflow. A NaN (only where the gate is NaN or infinite) gives 0, and gate * 0 is then NaN.
static v128_t sigmoid(v128_t z) {
  v128_t e = exp_negative(wasm_f64x2_neg(wasm_f64x2_abs(z)));
  v128_t above = wasm_v128_bitselect(SPLAT(1), e, wasm_f64x2_ge(z, SPLAT(0)));
  return wasm_f64x2_div(above, wasm_f64x2_add(SPLAT(1), e));
}

static v128_t swiglu(v128_t x, v128_t gate, v128_t beta) {
  x = wasm_f64x2_promote_low_f32x4(x), gate = wasm_f64x2_promote_low_f32x4(gate);
  return wasm_f32x4_demote_f64x2_zero(wasm_f64x2_mul(wasm_f64x2_mul(x, gate), sigmoid(wasm_f64x2_mul(beta, gate))));
}

EXPORT(kernel_forward) int kernel_forward(const descriptor *d) {
  if (d->params_size != sizeof(params_t)) return INVALID_PARAMS;
  const params_t *p = AT(const params_t, d->params);
  uint32_t bytes = f32_bytes(p->rows, p->hidden), n = bytes / 4, i = 0;
  if (!bytes || p->beta - p->beta != 0) return INVALID_PARAMS;
  if (d->a_size != bytes || d->b_size != bytes) return INVALID_INPUT;
  if (d->out_size != bytes) return INVALID_OUTPUT;
  const float *x = AT(const float, d->a), *gate = AT(const float, d->b);
  float *y = AT(float, d->out);
  v128_t beta = SPLAT(p->beta);
  for (; i + 2 <= n; i += 2) wasm_v128_store64_lane(y + i, swiglu(wasm_v128_load64_zero(x + i), wasm_v128_load64_zero(gate + i), beta), 0);
  if (i < n) wasm_v128_store32_lane(y + i, swiglu(wasm_v128_load32_zero(x + i), wasm_v128_load32_zero(gate + i), beta), 0);
  return OK;
}
