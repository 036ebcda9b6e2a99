// rmsnorm_f32: y[row] = x[row] / sqrt(mean(x[row]^2) + eps) * weight. If scratch holds 4 * rows bytes it receives each row's rms.
#include "kernel.h"

typedef struct {
  float eps;
  uint32_t hidden, rows;
} params_t;

STATELESS(sizeof(params_t))

static double mean_square(const float *x, uint32_t n) {
  v128_t s = wasm_f64x2_const_splat(0);
  uint32_t i = 0;
  for (; i + 2 <= n; i += 2) {
    v128_t v = wasm_f64x2_promote_low_f32x4(wasm_v128_load64_zero(x + i));
    s = wasm_f64x2_add(s, wasm_f64x2_mul(v, v));
  }
  double sum = wasm_f64x2_extract_lane(s, 0) + wasm_f64x2_extract_lane(s, 1);
  if (i < n) sum += (double)x[i] * x[i];
  return sum / n;
}

EXPORT(kernel_forward) int kernel_forward(const descriptor *d) {
  if (d->params_size != sizeof(params_t)) return INVALID_PARAMS;
  const params_t *p = AT(const params_t, d->params);
  uint32_t bytes = f32_bytes(p->rows, p->hidden);
  if (!bytes || !(p->eps >= 0)) return INVALID_PARAMS;
  if (d->a_size != bytes || d->b_size != p->hidden * 4) return INVALID_INPUT;
  if (d->out_size != bytes) return INVALID_OUTPUT;
  const float *x = AT(const float, d->a), *w = AT(const float, d->b);
  float *y = AT(float, d->out), *saved = d->scratch_size >= p->rows * 4 ? AT(float, d->scratch) : 0;
  for (uint32_t row = 0; row < p->rows; row++, x += p->hidden, y += p->hidden) {
    double rms = __builtin_sqrt(mean_square(x, p->hidden) + p->eps), inv = 1 / rms;
    for (uint32_t i = 0; i < p->hidden; i++) y[i] = (float)(x[i] * inv * w[i]);
    if (saved) saved[row] = (float)rms;
  }
  return OK;
}
