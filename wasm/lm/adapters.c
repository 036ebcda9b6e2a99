// Not there yet: answers NOT_IMPLEMENTED.
#include "lm.h"

typedef struct {
  const float *x;  // n x in
  const float *pool;  // values
  const int32_t *table;  // sites x slots x 4
  const float *mix;  // n x slots
  float *y;  // n x out
  int32_t n;
  int32_t in;
  int32_t out;
  int32_t site;
  int32_t sites;
  int32_t slots;
  int32_t values;
} adapters_args;

OP(adapters) { return NOT_IMPLEMENTED; }
