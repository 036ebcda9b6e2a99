// Not there yet: answers NOT_IMPLEMENTED.
#include "lm.h"

typedef struct {
  const float *x;  // n x heads x d
  const float *weight;  // d, or 0
  float *y;  // n x heads x d
  int32_t n;
  int32_t heads;
  int32_t d;
  float eps;
} head_norm_args;

OP(head_norm) { return NOT_IMPLEMENTED; }

typedef struct {
  const float *x;  // n x heads x d
  const float *weight;  // d, or 0
  const float *dy;  // n x heads x d
  float *dx;  // n x heads x d
  int32_t n;
  int32_t heads;
  int32_t d;
  float eps;
} rms_norm_grad_args;

OP(rms_norm_grad) { return NOT_IMPLEMENTED; }

typedef struct {
  const float *x;  // n x d
  const float *weight;  // d
  const float *dy;  // n x d
  float *dx;  // n x d
  int32_t n;
  int32_t d;
  float eps;
} layer_norm_grad_args;

OP(layer_norm_grad) { return NOT_IMPLEMENTED; }
