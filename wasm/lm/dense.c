// Not there yet: answers NOT_IMPLEMENTED.
#include "lm.h"

typedef struct {
  const float *x;  // n x in
  const float *w;  // out x in
  float *y;  // n x out
  int32_t n;
  int32_t out;
  int32_t in;
  float factor;
} dense_args;

OP(dense) { return NOT_IMPLEMENTED; }

typedef struct {
  const float *x;  // n x out
  const float *w;  // out x in
  const float *residual;  // n x in, or 0
  float *y;  // n x in
  int32_t n;
  int32_t out;
  int32_t in;
  float factor;
} dense_t_args;

OP(dense_t) { return NOT_IMPLEMENTED; }

typedef struct {
  const float *x;  // n x a
  const float *y;  // n x b
  float *out;  // a x b
  int32_t n;
  int32_t a;
  int32_t b;
  float factor;
} outer_args;

OP(outer) { return NOT_IMPLEMENTED; }
