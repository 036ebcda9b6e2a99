// RMSNorm and LayerNorm. Sums run in f64: they neither overflow nor lose small parts, and cost little beside the matmuls around them.
// Threads split rows.
#include "norm.h"

typedef struct {
  const float *x;       // n x d
  const float *weight;  // d, or 0
  float *y;             // n x d; may be x
  int32_t n, d;
  float eps;
} rms_norm_args;

OP(rms_norm) {
  if (a->n < 0 || a->d <= 0) return INVALID_PARAMS;
  int begin, end, d = a->d;
  share(a->n, 1, thread, threads, &begin, &end);
  for (int row = begin; row < end; row++) {
    const float *x = a->x + (size_t)row * d;
    v128_t inverse = wasm_f32x4_splat(rms_inverse(x, d, a->eps));
    float *y = a->y + (size_t)row * d;
    for (int i = 0; i < d; i += 4) store_some(y + i, rms_at(x, a->weight, inverse, i, d - i), d - i);
  }
  return OK;
}

typedef struct {
  const float *x;       // n x d
  const float *weight;  // d
  const float *bias;    // d, or 0
  float *y;             // n x d; may be x
  int32_t n, d;
  float eps;
} layer_norm_args;

OP(layer_norm) {
  if (a->n < 0 || a->d <= 0) return INVALID_PARAMS;
  int begin, end, d = a->d;
  share(a->n, 1, thread, threads, &begin, &end);
  for (int row = begin; row < end; row++) {
    const float *x = a->x + (size_t)row * d;
    moments at = layer_moments(x, d, a->eps);
    float *y = a->y + (size_t)row * d;
    for (int i = 0; i < d; i += 4) store_some(y + i, layer_at(x, a->weight, a->bias, at, i, d - i), d - i);
  }
  return OK;
}
