// Not there yet: answers NOT_IMPLEMENTED.
#include "lm.h"

typedef struct {
  const float *logits;  // n x v
  const int32_t *targets;  // n
  const float *before;  // n x 4, or 0
  float *stats;  // n x 4
  int32_t n;
  int32_t v;
  int32_t first;
} token_stats_args;

OP(token_stats) { return NOT_IMPLEMENTED; }

typedef struct {
  const float *stats;  // n x 4
  const int32_t *targets;  // n
  const float *weights;  // n
  float *y;  // n
  int32_t n;
} cross_entropy_args;

OP(cross_entropy) { return NOT_IMPLEMENTED; }

typedef struct {
  const float *logits;  // n x v
  const float *stats;  // n x 4
  const int32_t *targets;  // n
  const float *weights;  // n
  float *out;  // n x v
  int32_t n;
  int32_t v;
  int32_t first;
} cross_entropy_grad_args;

OP(cross_entropy_grad) { return NOT_IMPLEMENTED; }
