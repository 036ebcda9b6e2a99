// Not there yet: answers NOT_IMPLEMENTED.
#include "lm.h"

typedef struct {
  const float *x;  // n x in
  weight w;  // out x in
  const float *bias;  // out, or 0
  const float *residual;  // n x out, or 0
  float *y;  // n x out
  int32_t n;
  int32_t out;
  int32_t in;
  int32_t act;
} matmul_f32_args;

OP(matmul_f32) { return NOT_IMPLEMENTED; }
