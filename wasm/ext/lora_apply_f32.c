// lora_apply_f32: y += scale * (x A) B. a = x [rows][d_in]; b = A [d_in][r], then B [r][d_out]; out = y [rows][d_out], added to.
// Scratch: r floats, or more.
#include "kernel.h"

typedef struct {
  uint32_t rows, d_in, r, d_out;
  float scale;
} params_t;

STATELESS(sizeof(params_t))

EXPORT(kernel_forward) int kernel_forward(const descriptor *d) {
  if (d->params_size != sizeof(params_t)) return INVALID_PARAMS;
  const params_t *p = AT(const params_t, d->params);
  uint32_t in = f32_bytes(p->rows, p->d_in), out = f32_bytes(p->rows, p->d_out), fa = f32_bytes(p->d_in, p->r), fb = f32_bytes(p->r, p->d_out);
  if (!in || !out || !fa || !fb) return INVALID_PARAMS;
  if (d->a_size != in || (uint64_t)d->b_size != (uint64_t)fa + fb) return INVALID_INPUT;
  if (d->out_size != out) return INVALID_OUTPUT;
  if (d->scratch_size < p->r * 4) return OUT_OF_MEMORY;
  const float *x = AT(const float, d->a), *A = AT(const float, d->b), *B = A + p->d_in * p->r;
  float *y = AT(float, d->out), *h = AT(float, d->scratch);
  for (uint32_t row = 0; row < p->rows; row++, x += p->d_in, y += p->d_out) {
    for (uint32_t k = 0; k < p->r; k++) h[k] = 0;
    for (uint32_t i = 0; i < p->d_in; i++)
      for (uint32_t k = 0; k < p->r; k++) h[k] += x[i] * A[i * p->r + k];
    for (uint32_t k = 0; k < p->r; k++)
      for (uint32_t j = 0; j < p->d_out; j++) y[j] += p->scale * h[k] * B[k * p->d_out + j];
  }
  return OK;
}
