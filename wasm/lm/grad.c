// Not there yet: answers NOT_IMPLEMENTED.
#include "lm.h"

typedef struct {
  const float *x;  // n x d
  float *y;  // n x width
  int32_t n;
  int32_t d;
  int32_t first;
  int32_t width;
} columns_args;

OP(columns) { return NOT_IMPLEMENTED; }

typedef struct {
  const float *x;  // n x d
  const float *dy;  // n x d
  float *out;  // n x d
  int32_t n;
  int32_t d;
  int32_t act;
} activation_grad_args;

OP(activation_grad) { return NOT_IMPLEMENTED; }

typedef struct {
  const float *x;  // n x d
  const float *dy;  // n x d
  float *out;  // n x d
  int32_t n;
  int32_t d;
  float cap;
} softcap_grad_args;

OP(softcap_grad) { return NOT_IMPLEMENTED; }

typedef struct {
  float *into;  // r x d
  const float *x;  // r x d
  int32_t r;
  int32_t d;
} accumulate_args;

OP(accumulate) { return NOT_IMPLEMENTED; }
