// Rows of unit length, exact nearest rows by dot product, and a check for values that are not finite.
#include "vector.h"

typedef struct {
  const float *x;  // n
  int32_t n;
} all_finite_args;

EXPORT(all_finite) int all_finite(const all_finite_args *p, int thread, int threads) {
  if (thread) return OK;
  return finite(p->x, p->n) ? OK : INVALID_INPUT;
}

typedef struct {
  const float *x;  // rows x d
  float *y;        // rows x d; may be x
  int32_t rows, d;
} normalize_args;

// y[i] = x[i] / ||x[i]||. A row of zeros stays zeros. A row that holds NaN or Inf becomes zeros and the kernel answers INVALID_INPUT after
// all rows are done, so that one bad row does not spoil the others.
EXPORT(normalize) int normalize(const normalize_args *p, int thread, int threads) {
  if (p->rows < 0 || p->d <= 0) return INVALID_PARAMS;
  int code = OK, d = p->d, end = row_begin(p->rows, thread + 1, threads);
  for (int row = row_begin(p->rows, thread, threads); row < end; row++) {
    const float *x = p->x + (size_t)row * d;
    float *y = p->y + (size_t)row * d;
    double s = sum_squares(x, d);
    if (!(s <= 1e300)) code = INVALID_INPUT;
    double inv = s > 0 && s <= 1e300 ? 1 / __builtin_sqrt(s) : 0;
    if (inv == 0) fill(y, 0, d);
    else for (int i = 0; i < d; i++) y[i] = (float)(x[i] * inv);
  }
  return code;
}

typedef struct {
  const float *m;   // rows x d
  const float *q;   // d
  uint32_t *index;  // threads x k, best first; 0xffffffff where there are fewer than k
  float *score;     // threads x k; -Inf where there are fewer than k
  int32_t rows, d, k;
} topk_dot_args;

// The k largest m[i] . q, best first, equal scores by lower row. A score that is NaN or -Inf never enters (its row is not a match); a query
// that is not finite is INVALID_INPUT. Thread t fills list t from its rows; whoever uses more threads merges the lists.
EXPORT(topk_dot) int topk_dot(const topk_dot_args *p, int thread, int threads) {
  int d = p->d, k = p->k;
  if (p->rows < 0 || d <= 0 || k <= 0) return INVALID_PARAMS;
  uint32_t *index = p->index + (size_t)thread * k;
  float *score = p->score + (size_t)thread * k;
  for (int i = 0; i < k; i++) {
    index[i] = 0xffffffffu;
    score[i] = -__builtin_inff();
  }
  if (!finite(p->q, d)) return INVALID_INPUT;
  int end = row_begin(p->rows, thread + 1, threads);
  for (int row = row_begin(p->rows, thread, threads); row < end; row++) {
    float s = dot(p->m + (size_t)row * d, p->q, d);
    if (!(s > score[k - 1])) continue;
    int at = k - 1;
    for (; at > 0 && score[at - 1] < s; at--) {
      score[at] = score[at - 1];
      index[at] = index[at - 1];
    }
    score[at] = s;
    index[at] = (uint32_t)row;
  }
  return OK;
}
