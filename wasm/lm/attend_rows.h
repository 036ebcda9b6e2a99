// Attention over the rows of a run. Rows of a sequence lie together and in order; what a row gets depends on its own sequence alone, as blocks
// of keys begin at every 16th row of it.
#pragma once
#include "attend.h"

typedef struct {
  const float *q;     // n x heads x head_dim
  const float *k, *v; // n x kv_heads x head_dim
  const int32_t *sequences;
  float *y;           // n rows of y_stride numbers, in each heads x head_dim; must not overlap q, k or v
  size_t y_stride;
  int n, heads, kv_heads, causal, window;
  attend_form form;
} row_attention;

// Heads [head, head + heads), which share a K/V head
typedef struct {
  int head, heads;
} head_group;

// Rows [from, to)
typedef struct {
  int from, to;
} range;

static inline range both(range a, range b) { return (range){a.from > b.from ? a.from : b.from, a.to < b.to ? a.to : b.to}; }

static inline int are_bad_heads(int n, int heads, int kv_heads, int d) {
  return n < 0 || kv_heads <= 0 || heads <= 0 || heads % kv_heads || d <= 0 || d > MAX_HEAD_DIM || d % 4;
}

// A window is of a causal model: the last `window` rows, the row's own among them.
static inline int is_bad_form(const row_attention *a) {
  return are_bad_heads(a->n, a->heads, a->kv_heads, a->form.head_dim) || a->window < 0 || (a->window && !a->causal) || !(a->form.softcap >= 0);
}

static inline int are_apart(const int32_t *sequences, int n) {
  for (int i = 1; i < n; i++)
    if (sequences[i] < sequences[i - 1]) return 1;
  return 0;
}

// The sequence that begins at row `first`
static inline range sequence_at(const row_attention *a, int first) {
  int last = first + 1;
  while (last < a->n && a->sequences[last] == a->sequences[first]) last++;
  return (range){first, last};
}

// Rows that `row` sees
static inline range seen_by(const row_attention *a, range sequence, int row) {
  if (!a->causal) return sequence;
  return both(sequence, (range){a->window ? row - a->window + 1 : 0, row + 1});
}

// The queries of some rows of a sequence over what they see; answers their number. Their outputs are sums: end_query makes means of them.
static int attend_rows(const row_attention *a, range sequence, range rows, head_group g, query *set) {
  int d = a->form.head_dim, count = 0, kv_head = g.head / (a->heads / a->kv_heads);
  for (int row = rows.from; row < rows.to; row++) {
    range seen = seen_by(a, sequence, row);
    for (int h = g.head; h < g.head + g.heads; h++)
      begin_query(set + count++, a->q + ((size_t)row * a->heads + h) * d, a->y + row * a->y_stride + (size_t)h * d, d, seen.from, seen.to);
  }
  size_t stride = (size_t)a->kv_heads * d;
  int first = set[0].from, last = set[count - 1].to;  // neither bound falls from row to row
  for (int at = first - (first - sequence.from) % BLOCK; at < last; at += BLOCK) {
    size_t place = at * stride + (size_t)kv_head * d;
    block b = {a->k + place, a->v + place, stride, at, last - at < BLOCK ? last - at : BLOCK};
    attend(set, count, &b, &a->form);
  }
  return count;
}
