// Attention over the paged cache. Threads split heads.
#include "attend.h"
#include "kv.h"

// Rows [begin, end) that belong to one sequence and heads [head, head + heads) that share a K/V head: a set of queries, row by row.
typedef struct {
  int begin, end, head, heads;
} group;

// Rows from `begin` on of one sequence, at most as many as a set of queries holds
static int run_end(const int32_t *sequences, int begin, int n, int heads) {
  int end = begin, most = MAX_QUERIES / heads < 1 ? 1 : MAX_QUERIES / heads;
  while (end < n && end - begin < most && sequences[end] == sequences[begin]) end++;
  return end;
}

typedef struct {
  const float *q;            // n x heads x head_dim
  uint8_t *kcache, *vcache;  // cache_pages pages; only read
  const int32_t *positions, *sequences, *pages;
  float *y;                  // n x heads x head_dim; must not overlap q
  int32_t n, heads, kv_heads, head_dim, page, max_pages, seqs, cache_pages;
  uint32_t kv_type;
  float scale;
  int32_t window;            // a query sees the last `window` keys, its own among them; 0: all
  float softcap;             // 0: none
} attention_args;

// The queries of a group; answers the first and the last key that any of them sees, or -1 when a position or a sequence is out of range.
static int make_queries(const attention_args *a, const cache *c, group g, query *set, int *first, int *last) {
  int d = a->head_dim, count = 0;
  *first = INT32_MAX, *last = -1;
  for (int row = g.begin; row < g.end; row++) {
    int at = a->positions[row], from = a->window && at >= a->window ? at - a->window + 1 : 0;
    if (kv_page(c, a->sequences[row], at) < 0) return -1;
    if (from < *first) *first = from;
    if (at > *last) *last = at;
    for (int h = g.head; h < g.head + g.heads; h++) {
      size_t place = ((size_t)row * a->heads + h) * d;
      begin_query(set + count++, a->q + place, a->y + place, d, from, at + 1);
    }
  }
  return count;
}

// A block of a page as f32 rows: where they lie, or unpacked into `room`. Rows behind `last` are not read.
static block block_of(const cache *c, int page, int head, int at, int last, float (*room)[BLOCK * MAX_HEAD_DIM]) {
  int from = at % c->page, count = c->page - from < BLOCK ? c->page - from : BLOCK;
  if (at + count > last + 1) count = last + 1 - at;
  uint8_t *k = kv_rows(c, c->k, page, head), *v = kv_rows(c, c->v, page, head);
  size_t stride = (size_t)c->head_dim;
  if (c->type == KV_F32) return (block){(float *)k + from * stride, (float *)v + from * stride, stride, at, count};
  kv_get(c, k, from, from + count, room[0]);
  kv_get(c, v, from, from + count, room[1]);
  return (block){room[0], room[1], stride, at, count};
}

static int attend_group(const attention_args *a, const cache *c, group g) {
  query set[MAX_QUERIES];
  float room[2][BLOCK * MAX_HEAD_DIM];
  attend_form form = {a->head_dim, a->scale, a->softcap};
  int first, last, sequence = a->sequences[g.begin], kv_head = g.head / (a->heads / a->kv_heads), count = make_queries(a, c, g, set, &first, &last);
  if (count < 0) return INVALID_INPUT;
  for (int at = first - first % c->page % BLOCK; at <= last;) {  // blocks begin at the same keys for every query: at multiples of 16 in a page
    int page = kv_page(c, sequence, at);
    if (page < 0) return INVALID_INPUT;
    block b = block_of(c, page, kv_head, at, last, room);
    attend(set, count, &b, &form);
    at += b.count;
  }
  for (int i = 0; i < count; i++) end_query(set + i, a->head_dim);
  return OK;
}

// Causal by position: a key with a higher position than the query's is not read.
OP(attention) {
  cache c = {a->kcache, a->vcache, a->pages, a->kv_heads, a->head_dim, a->page, a->max_pages, a->seqs, a->cache_pages, a->kv_type};
  if (a->n < 0 || is_bad_cache(&c) || a->heads <= 0 || a->heads % a->kv_heads || a->window < 0 || !(a->softcap >= 0)) return INVALID_PARAMS;
  int head, end, shared = a->heads / a->kv_heads;
  share(a->heads, 1, thread, threads, &head, &end);
  while (head < end) {
    int next = (head / shared + 1) * shared, heads = (next < end ? next : end) - head;
    if (heads > MAX_QUERIES) heads = MAX_QUERIES;
    for (int row = 0; row < a->n;) {
      int stop = run_end(a->sequences, row, a->n, heads), code = attend_group(a, &c, (group){row, stop, head, heads});
      if (code) return code;
      row = stop;
    }
    head += heads;
  }
  return OK;
}
