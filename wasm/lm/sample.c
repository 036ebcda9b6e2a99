// Drawing a token. Every step is exact integer arithmetic or single IEEE operations in a fixed order, so the NumPy reference, every engine and
// every build draw the same token from the same logits.
//
// A token's weight is the integer part of 2^31 e^(z - largest z): weights add without error in any order. Tokens of weight 0 (2^31 times less
// likely than the best) are gone at once, and no filter needs a sorted vocabulary: in the order "heavier first, equal weights by lower number",
// top-k, top-p and min-p each keep a beginning, which is found by counting weights byte by byte; the shortest of the three remains.
#include "math.h"
#include "philox.h"

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

static int is_bad_sampling(const sampling *p, int v) {
  uint64_t end = (uint64_t)(uint32_t)p->mask + 4 * (((uint32_t)v + 31) / 32);
  return !(p->temperature >= 0 && p->temperature < __builtin_inff()) || !(p->repetition > 0) || p->top_p != p->top_p || p->min_p != p->min_p || p->history < 0 || p->history > HISTORY ||
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

// Weights of some tokens, rising by number; `token` 0: of all.
typedef struct {
  const uint32_t *weight;
  const int32_t *token;
  int count;
  uint64_t total;
} list;

// Logits to weights, in place. They are divided by the temperature less the largest, so that no coldness makes them overflow. e^x is the
// polynomial of math.h without fused operations; 2^31 e^x is then cut to an integer.
static list weigh(uint32_t *w, int v, float most, float temperature) {
  v128_t total = wasm_i64x2_const_splat(0), factor = wasm_f32x4_min(wasm_f32x4_splat(1 / temperature), SPLAT(__FLT_MAX__));
  for (int i = 0; i < v; i += 4) {
    float *z = (float *)w + i;
    v128_t e = exp_with(wasm_f32x4_mul(wasm_f32x4_sub(load_some(z, v - i), wasm_f32x4_splat(most)), factor), 0);
    store_some(z, wasm_u32x4_trunc_sat_f32x4(wasm_f32x4_mul(e, SPLAT(2147483648.0f))), v - i);
    v128_t x = load_some(z, v - i);
    total = wasm_i64x2_add(total, wasm_i64x2_add(wasm_u64x2_extend_low_u32x4(x), wasm_u64x2_extend_high_u32x4(x)));
  }
  return (list){w, 0, v, (uint64_t)wasm_i64x2_extract_lane(total, 0) + (uint64_t)wasm_i64x2_extract_lane(total, 1)};
}

// Tokens of weight FLOOR and more, or an empty list when there are more than ROOM: filters mostly end among those few.
#define FLOOR (ONE >> 16)
#define ROOM 4096
static list heavy(list all, uint32_t *weights, int32_t *tokens) {
  list found = {weights, tokens, 0, 0};
  v128_t floor = wasm_u32x4_const_splat(FLOOR);
  for (int i = 0; i < all.count; i++) {
    while (i + 4 <= all.count && !wasm_v128_any_true(wasm_u32x4_ge(LOAD(all.weight + i), floor))) i += 4;
    if (i == all.count || all.weight[i] < FLOOR) continue;
    if (found.count == ROOM) return (list){0};
    weights[found.count] = all.weight[i];
    tokens[found.count++] = i;
    found.total += all.weight[i];
  }
  return found;
}

// What a filter keeps: tokens heavier than `weight`, and the first `ties` of those that weigh as much.
typedef struct {
  uint32_t weight, ties;
} cut;

static cut tighter(cut a, cut b) { return a.weight > b.weight || (a.weight == b.weight && a.ties < b.ties) ? a : b; }

// The shortest beginning whose tokens (`by_weight` 0) or weights add up to `target`, at most what the list has: the byte of the weight where it
// ends is found among the tokens that share the bytes above.
static cut beginning(list l, uint64_t target, int by_weight) {
  uint64_t above = 0;
  uint32_t known = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    uint64_t amounts[256] = {0};
    uint32_t above_mask = shift == 24 ? 0 : 0xffffffffu << (shift + 8);
    for (int i = 0; i < l.count; i++) {
      uint32_t x = l.weight[i];
      if ((x & above_mask) == known) amounts[x >> shift & 255] += by_weight ? x : x > 0;
    }
    uint32_t byte = 255;
    while (above + amounts[byte] < target) above += amounts[byte--];
    known |= byte << shift;
  }
  uint64_t each = by_weight ? known : 1;
  return (cut){known, (uint32_t)((target - above + each - 1) / each)};
}

static uint64_t kept_weight(list l, cut c) {
  if (!c.weight) return l.total;
  uint64_t total = (uint64_t)c.weight * c.ties;
  for (int i = 0; i < l.count; i++) total += l.weight[i] > c.weight ? l.weight[i] : 0;
  return total;
}

static uint64_t part(uint64_t total, float top_p) {
  uint64_t target = (uint64_t)__builtin_ceil((double)total * (top_p > 0 ? top_p : 0));
  return target ? target : 1;
}

static int count_tokens(list l) {
  int found = 0;
  for (int i = 0; i < l.count; i++) found += l.weight[i] > 0;
  return found;
}

// `few` instead of `all`, when what the filters keep is certainly among the few
static list shortest(const sampling *p, list all, list few) {
  if (p->top_k > 0) return p->top_k <= few.count ? few : all;
  return few.count && ((p->top_p < 1 && part(all.total, p->top_p) <= few.total) || (double)p->min_p * ONE >= FLOOR) ? few : all;
}

static cut filter(const sampling *p, list l, uint64_t total) {
  cut kept = {0, 0};
  if (p->top_k > 0 && p->top_k < count_tokens(l)) {
    kept = beginning(l, (uint64_t)p->top_k, 0);
    total = kept_weight(l, kept);
  }
  if (p->top_p < 1 && part(total, p->top_p) <= l.total) kept = tighter(kept, beginning(l, part(total, p->top_p), 1));
  if (p->min_p > 0) kept = tighter(kept, (cut){(uint32_t)__builtin_ceil((double)(p->min_p < 1 ? p->min_p : 1) * ONE) - 1, 0});
  return kept;
}

// The kept token, in order of number, at 24 random bits of the way through their weight
static int draw(const sampling *p, list l, cut kept) {
  uint32_t noise[4] = {p->step, 0, 0, 0};
  philox(p->seed, noise);
  uint64_t total = kept_weight(l, kept), u = noise[0] >> 8;
  uint64_t target = (total >> 24) * u + (((total & 0xffffff) * u) >> 24), sum = 0;  // total * u / 2^24 without overflow
  uint32_t ties = kept.ties;
  for (int i = 0; i < l.count; i++) {
    uint32_t x = l.weight[i];
    if (x < kept.weight || (x == kept.weight && !ties)) continue;
    ties -= x == kept.weight;
    sum += x;
    if (sum > target) return l.token ? l.token[i] : i;
  }
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
  float most = largest(z, v);
  if (most != most) return INVALID_INPUT;
  if (most == -__builtin_inff()) return INVALID_PARAMS;  // no token is allowed
  if (is_greedy) {
    *picked = first_equal(z, v, most);
    return OK;
  }
  uint32_t weights[ROOM];
  int32_t tokens[ROOM];
  list all = weigh(scratch, v, most, p->temperature), l = shortest(p, all, heavy(all, weights, tokens));
  *picked = draw(p, l, filter(p, l, all.total));
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
