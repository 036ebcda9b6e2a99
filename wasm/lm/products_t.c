// Not there yet: answers NOT_IMPLEMENTED.
#include "lm.h"

typedef struct {
  const float *x;  // n x out
  weight w;  // out x in
  const float *residual;  // n x in, or 0
  float *y;  // n x in
  int32_t n;
  int32_t out;
  int32_t in;
} matmul_t_args;

OP(matmul_t) { return NOT_IMPLEMENTED; }

typedef struct {
  const uint8_t *x;  // n x out
  weight w;  // out x in
  const float *residual;  // n x in, or 0
  float *y;  // n x in
  int32_t n;
  int32_t out;
  int32_t in;
  int32_t stride;
} matmul_t_int8_args;

OP(matmul_t_int8) { return NOT_IMPLEMENTED; }
