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

// Every query of the set takes in the block.
void attend(query *set, int count, const block *b, const attend_form *f);

// The two products that attention is made of.
//
// Lane i is the sum of the lanes of a[i].
INLINE v128_t sums(const v128_t *a) {
  v128_t s = wasm_f32x4_add(wasm_i32x4_shuffle(a[0], a[1], 0, 1, 4, 5), wasm_i32x4_shuffle(a[0], a[1], 2, 3, 6, 7));
  v128_t t = wasm_f32x4_add(wasm_i32x4_shuffle(a[2], a[3], 0, 1, 4, 5), wasm_i32x4_shuffle(a[2], a[3], 2, 3, 6, 7));
  return wasm_f32x4_add(wasm_i32x4_shuffle(s, t, 0, 2, 4, 6), wasm_i32x4_shuffle(s, t, 1, 3, 5, 7));
}

// Dot products of `queries` rows with `keys` keys (constants, 8 products at a time: that many sums hide the latency of adding).
// scores[j][i / 4] has those of row j with keys i … i + 3.
INLINE void dots(const float *const *q, const int queries, const float *const *k, const int keys, int d, v128_t (*scores)[BLOCK / 4], int at) {
  v128_t acc[8] = {0};
  for (int i = 0; i < d; i += 4) {
    v128_t x[2];
    UNROLL for (int j = 0; j < queries; j++) x[j] = LOAD(q[j] + i);
    UNROLL for (int t = 0; t < keys; t++) {
      v128_t key = LOAD(k[t] + i);
      UNROLL for (int j = 0; j < queries; j++) acc[j * keys + t] = madd(x[j], key, acc[j * keys + t]);
    }
  }
  UNROLL for (int j = 0; j < queries; j++)
    UNROLL for (int t = 0; t < keys; t += 4) scores[j][(at + t) / 4] = sums(acc + j * keys + t);
}

// What rows are multiplied by: that of row t for result j lies at weights[j * across + t * along].
typedef struct {
  const float *at;
  int across, along;
} row_weights;

// y[j] = y[j] * factor[j] + sum over rows [from, to) at v of weight * row, for `vectors` vectors of each of `rows` results from number i on
// (constants, 8 vectors in all)
INLINE void mix(float *const *y, const int rows, const int vectors, const float *v, size_t stride, int from, int to, row_weights w, const float *factor, int i) {
  v128_t acc[8];
  UNROLL for (int j = 0; j < rows; j++)
    UNROLL for (int u = 0; u < vectors; u++) acc[j * vectors + u] = wasm_f32x4_mul(LOAD(y[j] + i + 4 * u), wasm_f32x4_splat(factor[j]));
  v += from * stride + i;
  for (int t = from; t < to; t++, v += stride) {
    v128_t by[2];
    UNROLL for (int j = 0; j < rows; j++) by[j] = wasm_v128_load32_splat(w.at + j * w.across + t * w.along);
    UNROLL for (int u = 0; u < vectors; u++) {
      v128_t value = LOAD(v + 4 * u);
      UNROLL for (int j = 0; j < rows; j++) acc[j * vectors + u] = madd(by[j], value, acc[j * vectors + u]);
    }
  }
  UNROLL for (int j = 0; j < rows; j++)
    UNROLL for (int u = 0; u < vectors; u++) wasm_v128_store(y[j] + i + 4 * u, acc[j * vectors + u]);
}

// `mix` of whole rows of d
INLINE void mix_rows(float *const *y, const int rows, const float *v, size_t stride, int from, int to, row_weights w, const float *factor, int d) {
  const int vectors = 8 / rows;
  int i = 0;
  for (; i + 4 * vectors <= d; i += 4 * vectors) mix(y, rows, vectors, v, stride, from, to, w, factor, i);
  for (; i < d; i += 4) mix(y, rows, 1, v, stride, from, to, w, factor, i);
}
