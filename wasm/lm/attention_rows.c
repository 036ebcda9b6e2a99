// Attention over the rows of a run: encoders, and decoders that are trained. Threads split heads.
#include "attend_rows.h"

static void attend_heads(const row_attention *a, range sequence, head_group g) {
  query set[MAX_QUERIES];
  int most = MAX_QUERIES / g.heads;
  for (int row = sequence.from; row < sequence.to; row += most) {
    int count = attend_rows(a, sequence, both(sequence, (range){row, row + most}), g, set);
    for (int i = 0; i < count; i++) end_query(set + i, a->form.head_dim);
  }
}

static int attend_all(const row_attention *a, int thread, int threads) {
  if (is_bad_form(a)) return INVALID_PARAMS;
  if (are_apart(a->sequences, a->n)) return INVALID_INPUT;
  int begin, end, shared = a->heads / a->kv_heads;
  share(a->heads, 1, thread, threads, &begin, &end);
  for (int row = 0; row < a->n;) {
    range sequence = sequence_at(a, row);
    for (int head = begin, next; head < end; head = next) {
      next = (head / shared + 1) * shared < end ? (head / shared + 1) * shared : end;
      if (next > head + MAX_QUERIES) next = head + MAX_QUERIES;
      attend_heads(a, sequence, (head_group){head, next - head});
    }
    row = sequence.to;
  }
  return OK;
}

typedef struct {
  const float *q;            // n x heads x head_dim
  const float *k, *v;        // n x kv_heads x head_dim
  const int32_t *sequences;  // n, never falling: rows of a sequence lie together
  float *y;                  // n x heads x head_dim; must not overlap q, k or v
  int32_t n, heads, kv_heads, head_dim;
  float scale;
} attention_packed_args;

// A row sees all rows of its own sequence.
OP(attention_packed) {
  row_attention all = {a->q, a->k, a->v, a->sequences, a->y, (size_t)a->heads * a->head_dim, a->n, a->heads, a->kv_heads, 0, 0, {a->head_dim, a->scale, 0}};
  return attend_all(&all, thread, threads);
}

typedef struct {
  const float *q;            // n x heads x head_dim
  const float *k, *v;        // n x kv_heads x head_dim
  const int32_t *sequences;  // n, never falling; rows of a sequence in the order of their positions
  float *y;                  // n x heads x head_dim; must not overlap q, k or v
  int32_t n, heads, kv_heads, head_dim;
  float scale;
  int32_t causal;            // a row sees none behind it
  int32_t window;            // causal: a row sees the last `window` rows, its own among them; 0: all
  float softcap;             // 0: none
} attention_rows_args;

OP(attention_rows) {
  attend_form form = {a->head_dim, a->scale, a->softcap};
  row_attention all = {a->q, a->k, a->v, a->sequences, a->y, (size_t)a->heads * a->head_dim, a->n, a->heads, a->kv_heads, a->causal, a->window, form};
  return attend_all(&all, thread, threads);
}
