// Ops on whole rows: picking, pooling.
#include "lm.h"

typedef struct {
  const float *x;         // n x d
  const int32_t *wanted;  // m row numbers
  float *y;               // m x d
  int32_t n, m, d;
} rows_args;

// y[i] = x[wanted[i]]. Threads split rows.
OP(rows) {
  if (a->n < 0 || a->m < 0 || a->d <= 0) return INVALID_PARAMS;
  int i, end;
  share(a->m, 1, thread, threads, &i, &end);
  for (; i < end; i++) {
    if ((uint32_t)a->wanted[i] >= (uint32_t)a->n) return INVALID_INPUT;
    __builtin_memcpy(a->y + (size_t)i * a->d, a->x + (size_t)a->wanted[i] * a->d, 4u * a->d);
  }
  return OK;
}

typedef struct {
  const float *x;            // n x d
  const int32_t *sequences;  // n; each from 0 to s - 1
  float *y;                  // s x d; a sequence without rows is zeros
  int32_t n, s, d;
  uint32_t mode;
  int32_t normalize;         // 1: rows of y of unit length
} pool_args;

static void pool_one(const pool_args *a, int sequence) {
  int d = a->d, count = 0;
  float *y = a->y + (size_t)sequence * d;
  fill(y, 0, d);
  for (int row = 0; row < a->n; row++) {
    if (a->sequences[row] != sequence || (a->mode == POOL_CLS && count)) continue;
    const float *x = a->x + (size_t)row * d;
    if (a->mode == POOL_MEAN) axpy(y, y, 1, x, d);
    else __builtin_memcpy(y, x, 4u * d);
    count++;
  }
  double length = a->normalize ? __builtin_sqrt(sum_squares(y, d)) : a->mode == POOL_MEAN ? count : 1;  // of unit length, a sum is as good as a mean
  float factor = length == 0 ? 0 : (float)(1 / length);
  for (int i = 0; i < d; i++) y[i] *= factor;
}

// One row for each sequence: the mean of its rows, its first, or its last. Threads split sequences.
OP(pool) {
  if (a->n < 0 || a->s < 0 || a->d <= 0 || a->mode > POOL_LAST) return INVALID_PARAMS;
  if (!in_range(a->sequences, a->n, a->s)) return INVALID_INPUT;
  int i, end;
  share(a->s, 1, thread, threads, &i, &end);
  for (; i < end; i++) pool_one(a, i);
  return OK;
}
