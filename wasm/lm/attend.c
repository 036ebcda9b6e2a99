// A block of keys and values for all queries of a set. See attend.h.
#include "attend.h"

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

// `queries` (1 or 2, a constant) queries that see the same keys [from, to) of a block. `k` has 16 addresses, all of keys they may read.
INLINE void absorb(query *const *q, const int queries, const block *b, const float *const *k, int from, int to, const attend_form *f) {
  v128_t scores[2][BLOCK / 4];
  float weights[2][BLOCK], factor[2], *y[2];
  const float *x[2];
  const int keys = 8 / queries;
  UNROLL for (int j = 0; j < queries; j++) x[j] = q[j]->q, y[j] = q[j]->y;
  UNROLL for (int t = 0; t < BLOCK; t += keys) dots(x, queries, k + t, keys, f->head_dim, scores, t);
  UNROLL for (int j = 0; j < queries; j++) factor[j] = weigh(q[j], scores[j], f, from, to, weights[j]);
  mix_rows(y, queries, b->v, b->stride, from, to, (row_weights){weights[0], BLOCK, 1}, factor, f->head_dim);
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

// Two queries at a time where both see all of the block
void attend(query *set, int count, const block *b, const attend_form *f) {
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
