// Products of plain f32 matrices, one of them thin: what an adapter adds, and its gradients. Threads split the longer side of the answer, in
// whole tiles of four rows or of 32 columns.
#include "product.h"

static void divide(const product *p, int thread, int threads) {
  int begin, end;
  int by_rows = p->rows >= p->columns;
  share(by_rows ? p->rows : p->columns, by_rows ? GROUP : BLOCK, thread, threads, &begin, &end);
  if (by_rows) multiply(p, begin, end, 0, p->columns);
  else multiply(p, 0, p->rows, begin, end);
}

INLINE matrix plain(const float *at, int rows, int columns) { return (matrix){{(const uint8_t *)at, LAYOUT_F32}, rows, columns}; }

typedef struct {
  const float *x;  // n x in
  const float *w;  // out x in
  float *y;        // n x out
  int32_t n, out, in;
  float factor;
} dense_args;

// y = factor * x w'
OP(dense) {
  if (a->n < 0 || a->out <= 0 || a->in <= 0) return INVALID_PARAMS;
  product p = {.x = a->x, .w = plain(a->w, a->out, a->in), .y = a->y, .rows = a->n, .columns = a->out, .depth = a->in, .factor = a->factor};
  divide(&p, thread, threads);
  return OK;
}

typedef struct {
  const float *x;         // n x out
  const float *w;         // out x in
  const float *residual;  // n x in, or 0; may be y
  float *y;               // n x in
  int32_t n, out, in;
  float factor;
} dense_t_args;

// y = factor * x w + residual
OP(dense_t) {
  if (a->n < 0 || a->out <= 0 || a->in <= 0) return INVALID_PARAMS;
  product p = {
      .x = a->x, .w = plain(a->w, a->out, a->in), .w_down = 1, .residual = a->residual, .y = a->y,
      .rows = a->n, .columns = a->in, .depth = a->out, .factor = a->factor,
  };
  divide(&p, thread, threads);
  return OK;
}

typedef struct {
  const float *x;  // n x a
  const float *y;  // n x b
  float *out;      // a x b
  int32_t n, a, b;
  float factor;
} outer_args;

// out = factor * x' y; zeros where there are no rows
OP(outer) {
  if (a->n < 0 || a->a <= 0 || a->b <= 0) return INVALID_PARAMS;
  product p = {
      .x = a->x, .w = plain(a->y, a->n, a->b), .x_down = 1, .w_down = 1, .y = a->out,
      .rows = a->a, .columns = a->b, .depth = a->n, .factor = a->factor,
  };
  divide(&p, thread, threads);
  return OK;
}

typedef struct {
  const float *x;  // n x in
  const float *a;  // r x in
  const float *b;  // out x r
  float *y;        // n x out
  int32_t n, in, out, r;
  float scale;
} lora_args;

enum { BETWEEN = 1536 };  // numbers between the two products, on the stack beside what `multiply` takes

// y += scale * (x a') b'. Threads split rows.
OP(lora) {
  if (a->n < 0 || a->in <= 0 || a->out <= 0 || a->r <= 0 || a->r > MAX_LORA_RANK) return INVALID_PARAMS;
  int row, end;
  float h[BETWEEN];
  share(a->n, GROUP, thread, threads, &row, &end);
  for (int rows; row < end; row += rows) {
    rows = BETWEEN / a->r < end - row ? BETWEEN / a->r : end - row;
    float *y = a->y + (size_t)row * a->out;
    product down = {.x = a->x + (size_t)row * a->in, .w = plain(a->a, a->r, a->in), .y = h, .rows = rows, .columns = a->r, .depth = a->in, .factor = 1};
    product up = {.x = h, .w = plain(a->b, a->out, a->r), .residual = y, .y = y, .rows = rows, .columns = a->out, .depth = a->r, .factor = a->scale};
    multiply(&down, 0, rows, 0, a->r);
    multiply(&up, 0, rows, 0, a->out);
  }
  return OK;
}
