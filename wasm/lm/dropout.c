// Not there yet: answers NOT_IMPLEMENTED.
#include "lm.h"

typedef struct {
  const float *x;  // n x d
  const uint32_t *seeds;  // 4
  float *y;  // n x d
  int32_t n;
  int32_t d;
  float rate;
  int32_t stream;
} dropout_args;

OP(dropout) { return NOT_IMPLEMENTED; }
