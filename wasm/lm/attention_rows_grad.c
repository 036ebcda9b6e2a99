// Not there yet: answers NOT_IMPLEMENTED.
#include "lm.h"

typedef struct {
  const float *q;  // n x heads x head_dim
  const float *k;  // n x kv_heads x head_dim
  const float *v;  // n x kv_heads x head_dim
  const int32_t *sequences;  // n
  const float *dy;  // n x heads x head_dim
  float *dx;  // n x parts x head_dim
  float *scratch;  // n x heads x 2
  int32_t n;
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
  float scale;
  int32_t causal;
  int32_t window;
  float softcap;
  int32_t parts;
} attention_rows_grad_args;

OP(attention_rows_grad) { return NOT_IMPLEMENTED; }
