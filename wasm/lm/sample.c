// Drawing a token. Every step is exact integer arithmetic or single IEEE operations in a fixed order, so the NumPy reference, every engine and
// every build draw the same token from the same logits.
//
// A token's weight is the integer part of 2^31 e^(z - largest z): weights add without error in any order. Tokens of weight 0 (2^31 times less
// likely than the best) are gone at once, and no filter needs a sorted vocabulary: in the order "heavier first, equal weights by lower number",
// top-k, top-p and min-p each keep a beginning, which is found by counting weights byte by byte; the shortest of the three remains.
#include "math.h"

enum { GREEDY = 1 };
#define HISTORY 256
#define ONE 2147483648u  // weight of the best token

typedef struct {
  float temperature;  // 0: the best token
  int32_t top_k;      // <= 0: all
  float top_p, min_p;
  float repetition, frequency, presence;
  uint32_t seed[2], step;
  int32_t history;  // tokens in this row's history
  uint32_t flags;
  const uint32_t *mask;  // bit i: token i is allowed; 0: all are
  uint32_t reserved[3];
} sampling;

typedef struct {
  const float *logits;       // m x v
  const sampling *params;    // m
  const int32_t *history;    // m x HISTORY token numbers
  int32_t *picked;           // m
  uint32_t *scratch;         // m x v
  int32_t m, v;
} sample_args;

// What a filter keeps: tokens heavier than `weight`, and the first `ties` of those that weigh as much.
typedef struct {
  uint32_t weight, ties;
} cut;

static cut tighter(cut a, cut b) { return a.weight > b.weight || (a.weight == b.weight && a.ties < b.ties) ? a : b; }

// Word 0 of Philox4x32-10 (Salmon et al. 2011) for the key `seed` and the counter (step, 0, 0, 0)
static uint32_t philox(const uint32_t *seed, uint32_t step) {
  uint32_t c[4] = {step, 0, 0, 0}, k0 = seed[0], k1 = seed[1];
  for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};
    __builtin_memcpy(c, next, sizeof c);
  }
  return c[0];
}

static int is_bad_sampling(const sampling *p, int v) {
  uint64_t end = (uint64_t)(uint32_t)p->mask + 4 * (((uint32_t)v + 31) / 32);
  return !(p->temperature >= 0) || !(p->repetition > 0) || p->top_p != p->top_p || p->min_p != p->min_p || p->history < 0 || p->history > HISTORY ||
         ((uint32_t)p->mask & 3) || end > (uint64_t)__builtin_wasm_memory_size(0) << 16;
}

// Logits of tokens seen before: away from the likely by `repetition` (Keskar et al. 2019), down by `frequency` each time and `presence` once.
static void penalize(const sampling *p, const int32_t *history, float *z) {
  for (int i = 0; i < p->history; i++) {
    int token = history[i], times = 0, before = 0;
    for (int j = 0; j < p->history; j++) {
      times += history[j] == token;
      before += history[j] == token && j < i;
    }
    if (before) continue;
    float logit = z[token] > 0 ? z[token] / p->repetition : z[token] * p->repetition;
    logit = logit - (float)times * p->frequency;
    z[token] = logit - p->presence;
  }
}

static void forbid(const uint32_t *mask, float *z, int v) {
  for (int i = 0; i < v; i++)
    if (!(mask[i >> 5] >> (i & 31) & 1)) z[i] = -__builtin_inff();
}

static void scale_all(float *z, int v, float factor) {
  for (int i = 0; i < v; i++) z[i] *= factor;
}

// The largest, or NaN when one is NaN or +Inf
static float largest(const float *z, int v) {
  v128_t most = SPLAT(-__builtin_inff()), good = wasm_i32x4_const_splat(-1);
  float best = -__builtin_inff();
  int i = 0, is_good = 1;
  for (; i + 4 <= v; i += 4) {
    v128_t x = LOAD(z + i);
    good = wasm_v128_and(good, wasm_f32x4_lt(x, SPLAT(__builtin_inff())));
    most = wasm_f32x4_pmax(most, x);
  }
  for (; i < v; i++) {
    is_good &= z[i] < __builtin_inff();
    if (z[i] > best) best = z[i];
  }
  for (i = 0; i < 4; i++, most = wasm_i32x4_shuffle(most, most, 1, 2, 3, 0))
    if (wasm_f32x4_extract_lane(most, 0) > best) best = wasm_f32x4_extract_lane(most, 0);
  return is_good && wasm_i32x4_all_true(good) ? best : __builtin_nanf("");
}

static int first_equal(const float *z, int v, float value) {
  int i = 0;
  for (v128_t wanted = wasm_f32x4_splat(value); i + 4 <= v && !wasm_v128_any_true(wasm_f32x4_eq(LOAD(z + i), wanted));) i += 4;
  while (i < v && z[i] != value) i++;
  return i;
}

// Logits to weights, in place. e^x is the polynomial of math.h without fused operations; 2^31 e^x is then cut to an integer.
static void weigh(uint32_t *w, int v, float most) {
  for (int i = 0; i < v; i += 4) {
    float *z = (float *)w + i;
    v128_t e = exp_with(wasm_f32x4_sub(load_some(z, v - i), wasm_f32x4_splat(most)), 0);
    store_some(z, wasm_u32x4_trunc_sat_f32x4(wasm_f32x4_mul(e, SPLAT(2147483648.0f))), v - i);
  }
}

// Calls `body` with the weight `x` of every token `i` that may be kept; most weights are 0, and four of them are one look.
#define EACH_WEIGHT(body)                                                          \
  for (int i = 0; i < v; i++) {                                                    \
    while (i + 4 <= v && !wasm_v128_any_true(LOAD(w + i))) i += 4;                 \
    if (i >= v) break;                                                             \
    uint32_t x = w[i];                                                             \
    body                                                                           \
  }

// The shortest beginning whose tokens (`by_weight` 0) or weights add up to `target`, which is at most what all have: the byte where it ends is
// found among the tokens that share the bytes above.
static cut beginning(const uint32_t *w, int v, uint64_t target, int by_weight) {
  uint64_t above = 0;
  uint32_t known = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    uint64_t amounts[256] = {0};
    EACH_WEIGHT(if (x && (uint64_t)x >> (shift + 8) == (uint64_t)known >> (shift + 8)) amounts[x >> shift & 255] += by_weight ? x : 1;)
    uint32_t byte = 255;
    while (above + amounts[byte] < target) above += amounts[byte--];
    known |= byte << shift;
  }
  uint64_t each = by_weight ? known : 1;
  return (cut){known, (uint32_t)((target - above + each - 1) / each)};
}

static uint64_t weight_of(const uint32_t *w, int v, cut c) {
  uint64_t total = (uint64_t)c.weight * c.ties;
  EACH_WEIGHT(if (x > c.weight) total += x;)
  return total;
}

static int count(const uint32_t *w, int v) {
  int found = 0;
  EACH_WEIGHT(found += x > 0;)
  return found;
}

static cut filter(const sampling *p, const uint32_t *w, int v) {
  cut kept = {0, 0};
  if (p->top_k > 0 && p->top_k < count(w, v)) kept = beginning(w, v, (uint64_t)p->top_k, 0);
  if (p->top_p < 1) {
    uint64_t target = (uint64_t)__builtin_ceil((double)weight_of(w, v, kept) * (p->top_p > 0 ? p->top_p : 0));
    kept = tighter(kept, beginning(w, v, target ? target : 1, 1));
  }
  if (p->min_p > 0) kept = tighter(kept, (cut){(uint32_t)__builtin_ceil((double)(p->min_p < 1 ? p->min_p : 1) * ONE) - 1, 0});
  return kept;
}

// The kept token, in order of number, at 24 random bits of the way through their weight
static int draw(const sampling *p, const uint32_t *w, int v, cut kept) {
  uint64_t total = weight_of(w, v, kept), u = philox(p->seed, p->step) >> 8;
  uint64_t target = (total >> 24) * u + (((total & 0xffffff) * u) >> 24), sum = 0;  // total * u / 2^24 without overflow
  uint32_t ties = kept.ties;
  EACH_WEIGHT(if (x > kept.weight || (x && x == kept.weight && ties && ties--)) {
    sum += x;
    if (sum > target) return i;
  })
  return -1;
}

static int pick(const sampling *p, const float *logits, const int32_t *history, uint32_t *scratch, int v, int32_t *picked) {
  if (is_bad_sampling(p, v)) return INVALID_PARAMS;
  if (!in_range(history, p->history, v)) return INVALID_INPUT;
  float *z = (float *)scratch;
  int is_greedy = p->temperature == 0 || p->flags & GREEDY;
  __builtin_memcpy(z, logits, 4u * v);
  penalize(p, history, z);
  if (p->mask) forbid(p->mask, z, v);
  if (!is_greedy) scale_all(z, v, 1 / p->temperature);
  float most = largest(z, v);
  if (most != most) return INVALID_INPUT;
  if (most == -__builtin_inff()) return INVALID_PARAMS;  // no token is allowed
  if (is_greedy) {
    *picked = first_equal(z, v, most);
    return OK;
  }
  weigh(scratch, v, most);
  *picked = draw(p, scratch, v, filter(p, scratch, v));
  return OK;
}

// Threads split rows.
OP(sample) {
  if (a->m < 0 || a->v <= 0) return INVALID_PARAMS;
  int i, end, code = OK;
  share(a->m, 1, thread, threads, &i, &end);
  for (; i < end && code == OK; i++) {
    size_t at = (size_t)i * a->v;
    code = pick(a->params + i, a->logits + at, a->history + i * HISTORY, a->scratch + at, a->v, a->picked + i);
  }
  return code;
}

typedef struct {
  const float *logits;  // m x v
  int32_t *picked;      // m
  int32_t m, v;
} argmax_args;

// The largest logit's number, the lowest of equal ones. NaN or +Inf: INVALID_INPUT. Threads split rows.
OP(argmax) {
  if (a->m < 0 || a->v <= 0) return INVALID_PARAMS;
  int i, end;
  share(a->m, 1, thread, threads, &i, &end);
  for (; i < end; i++) {
    const float *z = a->logits + (size_t)i * a->v;
    float most = largest(z, a->v);
    if (most != most) return INVALID_INPUT;
    a->picked[i] = first_equal(z, a->v, most);
  }
  return OK;
}
