// Not there yet: answers NOT_IMPLEMENTED.
#include "lm.h"

typedef struct {
  const float *q;  // n x heads x head_dim
  const float *k;  // n x kv_heads x head_dim
  const float *v;  // n x kv_heads x head_dim
  const int32_t *sequences;  // n
  float *y;  // n x heads x head_dim
  int32_t n;
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
  float scale;
  int32_t causal;
  int32_t window;
  float softcap;
} attention_rows_args;

OP(attention_rows) { return NOT_IMPLEMENTED; }
