// Not there yet: answers NOT_IMPLEMENTED.
#include "lm.h"

typedef struct {
  const float *x;  // count
  float *y;  // 1
  int32_t count;
} norm_args;

OP(norm) { return NOT_IMPLEMENTED; }

typedef struct {
  float *parameters;  // count
  float *gradients;  // count
  float *first;  // count
  float *second;  // count
  const float *norm;  // 1
  const float *hyper;  // 16
  int32_t count;
} adamw_args;

OP(adamw) { return NOT_IMPLEMENTED; }

typedef struct {
  float *parameters;  // count
  float *gradients;  // count
  float *momentum;  // count
  const float *norm;  // 1
  const float *hyper;  // 16
  int32_t count;
} sgd_args;

OP(sgd) { return NOT_IMPLEMENTED; }
