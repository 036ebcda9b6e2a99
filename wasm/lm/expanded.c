// Products of f32 rows with weights of any layout, and with their transposes. Threads split outputs.
#include "math.h"
#include "product.h"

typedef struct {
  const float *x;         // n x in
  weight w;               // out x in
  const float *bias;      // out, or 0
  const float *residual;  // n x out, or 0; may be y
  float *y;               // n x out
  int32_t n, out, in;
  uint32_t act;
} matmul_f32_args;

// y = act(x w' + bias) + residual
OP(matmul_f32) {
  product p = {
      .x = a->x, .w = {a->w, a->out, a->in}, .bias = a->bias, .residual = a->residual, .y = a->y,
      .rows = a->n, .columns = a->out, .depth = a->in, .factor = 1, .act = a->act,
  };
  int begin, end;
  if (a->n < 0 || !is_matrix(&p.w) || a->act > ACT_RELU) return INVALID_PARAMS;
  share(a->out, STRIP, thread, threads, &begin, &end);
  multiply(&p, 0, a->n, begin, end);
  return OK;
}

typedef struct {
  const float *x;         // n x out
  weight w;               // out x in
  const float *residual;  // n x in, or 0; may be y
  float *y;               // n x in
  int32_t n, out, in;
} matmul_t_args;

// y = x w + residual
OP(matmul_t) {
  product p = {
      .x = a->x, .w = {a->w, a->out, a->in}, .w_down = 1, .residual = a->residual, .y = a->y,
      .rows = a->n, .columns = a->in, .depth = a->out, .factor = 1,
  };
  int begin, end;
  if (a->n < 0 || !is_matrix(&p.w)) return INVALID_PARAMS;
  share(a->in, BLOCK, thread, threads, &begin, &end);
  multiply(&p, 0, a->n, begin, end);
  return OK;
}
