// Cross-entropy over a vocabulary that comes in chunks, so that its logits never lie in memory at once. What is known of a row so far is four
// numbers: the largest logit, the sum of e^(logit - largest), the target's logit, and 1 once the target's chunk has come. A target of -1 has no
// loss. Sums are f64; NaN among the logits makes the loss NaN. Threads split rows.
#include "math.h"

enum { MOST, SUM, TARGET, MET, STATS };

static int is_bad_target(const int32_t *targets, int n) {
  for (int i = 0; i < n; i++)
    if (targets[i] < -1) return 1;
  return 0;
}

// The largest, NaN if one is NaN. Four at once hide the latency of comparing, which without NaN would be an instruction.
static float most_of(const float *x, int n) {
  v128_t most[4];
  UNROLL for (int k = 0; k < 4; k++) most[k] = SPLAT(-__builtin_inff());
  for (; n >= 16; n -= 16, x += 16)
    UNROLL for (int k = 0; k < 4; k++) most[k] = wasm_f32x4_max(most[k], LOAD(x + 4 * k));
  for (; n > 0; n--, x++) most[0] = wasm_f32x4_max(most[0], wasm_v128_load32_splat(x));
  v128_t m = wasm_f32x4_max(wasm_f32x4_max(most[0], most[1]), wasm_f32x4_max(most[2], most[3]));
  m = wasm_f32x4_max(m, wasm_i32x4_shuffle(m, m, 2, 3, 0, 1));
  return wasm_f32x4_extract_lane(wasm_f32x4_max(m, wasm_i32x4_shuffle(m, m, 1, 0, 3, 2)), 0);
}

// Where exponents are counted from: a row without anything but -Inf has no largest, and its numbers weigh nothing
static inline float origin(float most) { return most == -__builtin_inff() ? 0 : most; }

static inline double exp1(float x) { return wasm_f32x4_extract_lane(exp4_or_zero(wasm_f32x4_splat(x)), 0); }

INLINE v128_t wide_sum(v128_t e) { return wasm_f64x2_add(wasm_f64x2_promote_low_f32x4(e), wasm_f64x2_promote_low_f32x4(wasm_i32x4_shuffle(e, e, 2, 3, 2, 3))); }

// Sum of e^(x - from): 16 numbers in f32, then f64
static double sum_exp(const float *x, float from, int n) {
  v128_t sum = wasm_f64x2_const_splat(0), at = wasm_f32x4_splat(from), e[4];
  for (; n >= 16; n -= 16, x += 16) {
    UNROLL for (int k = 0; k < 4; k++) e[k] = exp4_or_zero(wasm_f32x4_sub(LOAD(x + 4 * k), at));
    sum = wasm_f64x2_add(sum, wide_sum(wasm_f32x4_add(wasm_f32x4_add(e[0], e[1]), wasm_f32x4_add(e[2], e[3]))));
  }
  double rest = 0;
  for (; n > 0; n--, x++) rest += exp1(*x - from);
  return wasm_f64x2_extract_lane(sum, 0) + wasm_f64x2_extract_lane(sum, 1) + rest;
}

typedef struct {
  const float *logits;     // n x v
  const int32_t *targets;  // n; -1 or a number of the whole vocabulary
  const float *before;     // n x 4, or 0
  float *stats;            // n x 4; may be before
  int32_t n, v, first;
} token_stats_args;

// Logits of tokens first … first + v - 1, merged into what is known
OP(token_stats) {
  if (a->n < 0 || a->v <= 0 || a->first < 0) return INVALID_PARAMS;
  if (is_bad_target(a->targets, a->n)) return INVALID_INPUT;
  int row, end;
  share(a->n, 1, thread, threads, &row, &end);
  for (; row < end; row++) {
    const float *x = a->logits + (size_t)row * a->v, *before = a->before ? a->before + STATS * row : (const float[]){-__builtin_inff(), 0, 0, 0};
    float own = most_of(x, a->v), known = before[MOST], most = own > known || own != own ? own : known, from = origin(most);
    double sum = sum_exp(x, from, a->v) + (before[SUM] == 0 ? 0 : before[SUM] * exp1(known - from));
    int target = a->targets[row] - a->first, is_here = target >= 0 && target < a->v;
    float logit = is_here ? x[target] : before[TARGET], met = is_here ? 1 : before[MET];
    wasm_v128_store(a->stats + STATS * row, wasm_f32x4_make(most, (float)sum, logit, met));
  }
  return OK;
}

// Whether a row's target is no token of any chunk
static int is_unmet(const float *stats, const int32_t *targets, int n) {
  for (int i = 0; i < n; i++)
    if (targets[i] >= 0 && stats[STATS * i + MET] != 1) return 1;
  return is_bad_target(targets, n);
}

typedef struct {
  const float *stats;      // n x 4
  const int32_t *targets;  // n
  const float *weights;    // n
  float *y;                // n
  int32_t n;
} cross_entropy_args;

// weight * (largest + ln sum - the target's logit)
OP(cross_entropy) {
  if (a->n < 0) return INVALID_PARAMS;
  if (is_unmet(a->stats, a->targets, a->n)) return INVALID_INPUT;
  int row, end;
  share(a->n, 1, thread, threads, &row, &end);
  for (; row < end; row++) {
    const float *s = a->stats + STATS * row;
    a->y[row] = a->targets[row] < 0 ? 0 : (float)(a->weights[row] * (((double)s[MOST] - s[TARGET]) + ln(s[SUM])));
  }
  return OK;
}

typedef struct {
  const float *logits;     // n x v
  const float *stats;      // n x 4, of the whole vocabulary
  const int32_t *targets;  // n
  const float *weights;    // n
  float *out;              // n x v; may be logits
  int32_t n, v, first;
} cross_entropy_grad_args;

INLINE v128_t softmax4(v128_t x, v128_t from, v128_t factor) { return wasm_f32x4_mul(exp4_or_zero(wasm_f32x4_sub(x, from)), factor); }

// weight * (softmax - onehot)
OP(cross_entropy_grad) {
  if (a->n < 0 || a->v <= 0 || a->first < 0) return INVALID_PARAMS;
  if (is_unmet(a->stats, a->targets, a->n)) return INVALID_INPUT;
  int row, end;
  share(a->n, 1, thread, threads, &row, &end);
  for (; row < end; row++) {
    const float *x = a->logits + (size_t)row * a->v, *s = a->stats + STATS * row;
    float *out = a->out + (size_t)row * a->v, weight = a->weights[row];
    int target = a->targets[row] - a->first;
    if (a->targets[row] < 0) {
      fill(out, 0, a->v);
      continue;
    }
    v128_t from = wasm_f32x4_splat(origin(s[MOST])), factor = wasm_f32x4_splat(weight / s[SUM]);
    int i = 0, left = a->v % 4;
    for (; i < a->v - left; i += 4) wasm_v128_store(out + i, softmax4(LOAD(x + i), from, factor));
    if (left) store_some(out + i, softmax4(load_some(x + i, left), from, factor), left);
    if (target >= 0 && target < a->v) out[target] -= weight;
  }
  return OK;
}
