// Online softmax attention of a set of queries over blocks of up to 16 keys (Milakov & Gimelshein 2018; Dao et al. 2022). A block of K and V is
// read once for all queries of the set. What is computed for one query depends on that query and its keys alone, in the order of the keys:
// neither the other queries of a set nor how queries are paired changes a bit.
#pragma once
#include "math.h"

#define BLOCK 16
#define MAX_QUERIES 256

// One query: it sees keys [from, to) by number; its output is the sum of values so far, not yet divided by `sum`.
typedef struct {
  const float *q;  // head_dim
  float *y;        // head_dim
  int from, to;
  float max, sum;
} query;

// Keys [first, first + count) of one sequence and head; row i lies at k + i * stride and v + i * stride.
typedef struct {
  const float *k, *v;
  size_t stride;
  int first, count;
} block;

typedef struct {
  int head_dim;
  float scale, softcap;  // softcap 0: none
} attend_form;

static inline void begin_query(query *q, const float *x, float *y, int d, int from, int to) {
  *q = (query){x, y, from, to, -__builtin_inff(), 0};
  fill(y, 0, d);
}

static inline void end_query(const query *q, int d) {
  v128_t inverse = wasm_f32x4_splat(1 / q->sum);
  for (int i = 0; i < d; i += 4) wasm_v128_store(q->y + i, wasm_f32x4_mul(LOAD(q->y + i), inverse));
}

// Lane i is the sum of the lanes of a[i].
INLINE v128_t sums(const v128_t *a) {
  v128_t s = wasm_f32x4_add(wasm_i32x4_shuffle(a[0], a[1], 0, 1, 4, 5), wasm_i32x4_shuffle(a[0], a[1], 2, 3, 6, 7));
  v128_t t = wasm_f32x4_add(wasm_i32x4_shuffle(a[2], a[3], 0, 1, 4, 5), wasm_i32x4_shuffle(a[2], a[3], 2, 3, 6, 7));
  return wasm_f32x4_add(wasm_i32x4_shuffle(s, t, 0, 2, 4, 6), wasm_i32x4_shuffle(s, t, 1, 3, 5, 7));
}

// Dot products of `queries` queries with `keys` keys (constants, 8 products at a time: that many sums hide the latency of adding).
// scores[j][i / 4] has those of query j with keys i … i + 3.
INLINE void dots(const query *const *q, const int queries, const float *const *k, const int keys, int d, v128_t (*scores)[BLOCK / 4], int at) {
  v128_t acc[8] = {0};
  for (int i = 0; i < d; i += 4) {
    v128_t x[2];
    UNROLL for (int j = 0; j < queries; j++) x[j] = LOAD(q[j]->q + i);
    UNROLL for (int t = 0; t < keys; t++) {
      v128_t key = LOAD(k[t] + i);
      UNROLL for (int j = 0; j < queries; j++) acc[j * keys + t] = madd(x[j], key, acc[j * keys + t]);
    }
  }
  UNROLL for (int j = 0; j < queries; j++)
    UNROLL for (int t = 0; t < keys; t += 4) scores[j][(at + t) / 4] = sums(acc + j * keys + t);
}

// Scores to weights e^(score - max); answers what the sums so far must be multiplied by. Lanes outside [from, to) become 0.
static float weigh(query *q, v128_t *s, const attend_form *f, int from, int to, float *weights) {
  v128_t scale = wasm_f32x4_splat(f->scale), lowest = wasm_f32x4_const_splat(-__builtin_inff()), most = lowest, total = {0};
  UNROLL for (int i = 0; i < BLOCK / 4; i++) {
    s[i] = wasm_f32x4_mul(s[i], scale);
    if (f->softcap > 0) s[i] = wasm_f32x4_mul(tanh4(wasm_f32x4_div(s[i], wasm_f32x4_splat(f->softcap))), wasm_f32x4_splat(f->softcap));
    if (to - from < BLOCK) {
      v128_t lane = wasm_i32x4_add(wasm_i32x4_const(0, 1, 2, 3), wasm_i32x4_splat(4 * i));
      v128_t seen = wasm_v128_and(wasm_i32x4_ge(lane, wasm_i32x4_splat(from)), wasm_i32x4_lt(lane, wasm_i32x4_splat(to)));
      s[i] = wasm_v128_bitselect(s[i], lowest, seen);
    }
    most = wasm_f32x4_pmax(most, s[i]);
  }
  most = wasm_f32x4_pmax(most, wasm_i32x4_shuffle(most, most, 2, 3, 0, 1));
  most = wasm_f32x4_pmax(most, wasm_i32x4_shuffle(most, most, 1, 0, 3, 2));
  float before = q->max, max = wasm_f32x4_extract_lane(most, 0);
  q->max = max > before ? max : before;
  v128_t now = wasm_f32x4_splat(q->max);
  UNROLL for (int i = 0; i < BLOCK / 4; i++) {
    v128_t w = exp4_or_zero(wasm_f32x4_sub(s[i], now));
    wasm_v128_store(weights + 4 * i, w);
    total = wasm_f32x4_add(total, w);
  }
  float factor = q->max == before ? 1 : wasm_f32x4_extract_lane(exp4_or_zero(wasm_f32x4_splat(before - q->max)), 0);
  q->sum = q->sum * factor + hsum(total);
  return factor;
}

// y = y * factor + sum over keys of weight * value, for `vectors` vectors of each query from i on (constants, 8 vectors in all)
INLINE void mix(query *const *q, const int queries, const int vectors, const block *b, int from, int to, float (*weights)[BLOCK], const float *factor, int i) {
  v128_t acc[8];
  UNROLL for (int j = 0; j < queries; j++)
    UNROLL for (int u = 0; u < vectors; u++) acc[j * vectors + u] = wasm_f32x4_mul(LOAD(q[j]->y + i + 4 * u), wasm_f32x4_splat(factor[j]));
  const float *v = b->v + from * b->stride + i;
  for (int t = from; t < to; t++, v += b->stride) {
    v128_t w[2];
    UNROLL for (int j = 0; j < queries; j++) w[j] = wasm_v128_load32_splat(&weights[j][t]);
    UNROLL for (int u = 0; u < vectors; u++) {
      v128_t value = LOAD(v + 4 * u);
      UNROLL for (int j = 0; j < queries; j++) acc[j * vectors + u] = madd(w[j], value, acc[j * vectors + u]);
    }
  }
  UNROLL for (int j = 0; j < queries; j++)
    UNROLL for (int u = 0; u < vectors; u++) wasm_v128_store(q[j]->y + i + 4 * u, acc[j * vectors + u]);
}

// `queries` (1 or 2, a constant) queries that see the same keys [from, to) of a block. `k` has 16 addresses, all of keys they may read.
INLINE void absorb(query *const *q, const int queries, const block *b, const float *const *k, int from, int to, const attend_form *f) {
  v128_t scores[2][BLOCK / 4];
  float weights[2][BLOCK], factor[2];
  const int keys = 8 / queries, vectors = 8 / queries;
  int d = f->head_dim, i = 0;
  UNROLL for (int t = 0; t < BLOCK; t += keys) dots((const query *const *)q, queries, k + t, keys, d, scores, t);
  UNROLL for (int j = 0; j < queries; j++) factor[j] = weigh(q[j], scores[j], f, from, to, weights[j]);
  for (; i + 4 * vectors <= d; i += 4 * vectors) mix(q, queries, vectors, b, from, to, weights, factor, i);
  for (; i < d; i += 4) mix(q, queries, 1, b, from, to, weights, factor, i);
}

// The addresses of a block's keys, those outside [from, to) replaced by the nearest inside: keys that a query must not see are not read.
static void key_addresses(const block *b, int from, int to, const float **k) {
  for (int t = 0; t < BLOCK; t++) k[t] = b->k + b->stride * (size_t)(t < from ? from : t < to ? t : to - 1);
}

static void absorb_alone(query *q, const block *b, const attend_form *f) {
  int from = q->from > b->first ? q->from - b->first : 0, to = q->to - b->first < b->count ? q->to - b->first : b->count;
  if (from >= to) return;
  const float *k[BLOCK];
  key_addresses(b, from, to, k);
  absorb(&q, 1, b, k, from, to, f);
}

static inline int sees_all(const query *q, const block *b) { return q->from <= b->first && q->to >= b->first + b->count; }

// Every query of the set takes in the block, two at a time where both see all of it.
static void attend(query *set, int count, const block *b, const attend_form *f) {
  const float *k[BLOCK];
  key_addresses(b, 0, b->count, k);
  for (int i = 0; i < count; i++) {
    query *pair[2] = {set + i, set + i + 1};
    if (i + 1 < count && sees_all(pair[0], b) && sees_all(pair[1], b)) {
      absorb(pair, 2, b, k, 0, b->count, f);
      i++;
    } else {
      absorb_alone(set + i, b, f);
    }
  }
}
