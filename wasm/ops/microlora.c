// MicroLoRA: y = x + scale * (x A) B for one row x, with the exact gradient step.
// A is stored transposed: a[k][i] (r x d), so that both factors are read along contiguous rows; b[k][j] is r x d. 1 <= r <= 16, any d.
#include "pairs.h"

// h[k] = a[k] . x for k < r
static void project(const float *a, const float *x, float *h, int d, int r) {
  int k = 0;
  for (; k + 2 <= r; k += 2) dot2(a + k * d, a + (k + 1) * d, x, d, h + k);
  if (k < r) h[k] = dot(a + k * d, x, d);
}

// y += sum over k of c * h[k] * b[k]; `base` is read in place of y for the first rows, which saves a copy of x
static void expand(float *y, const float *base, const float *b, const float *h, float c, int d, int r) {
  int k = 0;
  for (; k + 2 <= r; k += 2, base = y) axpy2(y, base, c * h[k], b + k * d, c * h[k + 1], b + (k + 1) * d, d);
  if (k < r) axpy(y, base, c * h[k], b + k * d, d);
}

// A value of x that is not finite makes every h[k] not finite (0 * Inf is NaN, and no sum brings NaN or Inf back): so finite sums prove
// finite inputs, and inputs are looked at one by one only when a sum is not.
static int suspicious(const float *h, int r) {
  float sum = 0;
  for (int k = 0; k < r; k++) sum += h[k] * 0;
  return sum != 0;
}

static int bad_shape(int d, int r) { return d <= 0 || r <= 0 || r > MAX_RANK; }

typedef struct {
  const float *x;        // d
  const float *a;        // r x d
  const float *b;        // r x d
  float *y;              // d; must not overlap x
  float *h;              // scratch: r; x A afterwards
  int32_t d, r;
  float scale;
  int32_t residual;      // 1: y = x + delta, 0: y = delta
} microlora_forward_args;

EXPORT(microlora_forward) int microlora_forward(const microlora_forward_args *p, int thread, int threads) {
  if (thread) return OK;
  int d = p->d, r = p->r;
  if (bad_shape(d, r)) return INVALID_PARAMS;
  if (is_pair(d, r) && p->residual) {
    pair_project(p->a, p->x, (unsigned)d, p->h);
    if (suspicious(p->h, r) && !finite(p->x, d)) return INVALID_INPUT;
    return pair_expand(p->y, p->x, p->b, (unsigned)d, p->scale * p->h[0], p->scale * p->h[1]) ? OK : INVALID_OUTPUT;
  }
  project(p->a, p->x, p->h, d, r);
  if (suspicious(p->h, r) && !finite(p->x, d)) return INVALID_INPUT;
  if (!p->residual) fill(p->y, 0, d);
  expand(p->y, p->residual ? p->x : p->y, p->b, p->h, p->scale, d, r);
  return finite(p->y, d) ? OK : INVALID_OUTPUT;
}

typedef struct {
  const float *x;        // d
  const float *a, *b;    // r x d: the scope's own adapter
  const float *ca, *cb;  // r x d: the category's adapter
  float *y;              // d; must not overlap x
  float *h;              // scratch: r
  int32_t d, r;
  float scale;
  float weight;          // w in y = x + w * delta + (1 - w) * category delta
} microlora_blend_args;

static int blend_pair(const microlora_blend_args *p) {
  unsigned d = (unsigned)p->d;
  float h[2], g[2], own = p->scale * p->weight, category = p->scale * (1 - p->weight);
  pair_project(p->a, p->x, d, h);
  if (suspicious(h, 2) && !finite(p->x, p->d)) return INVALID_INPUT;
  pair_project(p->ca, p->x, d, g);
  float c[4] = {own * h[0], own * h[1], category * g[0], category * g[1]};
  return pair_expand_both(p->y, p->x, p->b, p->cb, d, c) ? OK : INVALID_OUTPUT;
}

EXPORT(microlora_blend) int microlora_blend(const microlora_blend_args *p, int thread, int threads) {
  if (thread) return OK;
  int d = p->d, r = p->r;
  if (bad_shape(d, r) || !(p->weight >= 0 && p->weight <= 1)) return INVALID_PARAMS;
  if (is_pair(d, r)) return blend_pair(p);
  project(p->a, p->x, p->h, d, r);
  if (suspicious(p->h, r) && !finite(p->x, d)) return INVALID_INPUT;
  expand(p->y, p->x, p->b, p->h, p->scale * p->weight, d, r);
  project(p->ca, p->x, p->h, d, r);
  expand(p->y, p->y, p->cb, p->h, p->scale * (1 - p->weight), d, r);
  return finite(p->y, d) ? OK : INVALID_OUTPUT;
}

// A step whose largest entry would pass this is refused. Weights can then leave the range of f32 only after some 1e8 such steps, and
// long before that the products below overflow and are refused too: so weights stay finite.
#define MAX_STEP 1e30f

static float max_abs(const float *x, int n) {
  v128_t m0 = wasm_f32x4_const_splat(0), m1 = m0, m2 = m0, m3 = m0;
  float best = 0;
  int i = 0;
  for (; i + 16 <= n; i += 16) {
    m0 = wasm_f32x4_pmax(m0, wasm_f32x4_abs(LOAD(x + i)));
    m1 = wasm_f32x4_pmax(m1, wasm_f32x4_abs(LOAD(x + i + 4)));
    m2 = wasm_f32x4_pmax(m2, wasm_f32x4_abs(LOAD(x + i + 8)));
    m3 = wasm_f32x4_pmax(m3, wasm_f32x4_abs(LOAD(x + i + 12)));
  }
  for (; i < n; i++) best = __builtin_fabsf(x[i]) > best ? __builtin_fabsf(x[i]) : best;
  m0 = wasm_f32x4_pmax(wasm_f32x4_pmax(m0, m1), wasm_f32x4_pmax(m2, m3));
  m0 = wasm_f32x4_pmax(m0, wasm_i32x4_shuffle(m0, m0, 2, 3, 0, 1));
  m0 = wasm_f32x4_pmax(m0, wasm_i32x4_shuffle(m0, m0, 1, 0, 3, 2));
  return wasm_f32x4_extract_lane(m0, 0) > best ? wasm_f32x4_extract_lane(m0, 0) : best;
}

typedef struct {
  const float *x;        // d: the input the gradient belongs to
  const float *e;        // d: dL/dy at x
  float *a, *b;          // r x d, both updated
  float *h;              // scratch: 2 r; (x A, e B^T) before the step afterwards
  int32_t d, r;
  float scale, lr;
  float clip;            // largest allowed norm of the gradient of (A, B); 0: no limit
} microlora_adapt_args;

// 1, or what shrinks the gradient to the norm `clip`: ||dA||^2 + ||dB||^2 = scale^2 (||x||^2 sum g_k^2 + ||e||^2 sum h_k^2)
static float clip_factor(const microlora_adapt_args *p) {
  if (p->clip <= 0) return 1;
  double n2 = (double)p->scale * p->scale * (sum_squares(p->x, p->d) * sum_squares(p->h + p->r, p->r) + sum_squares(p->e, p->d) * sum_squares(p->h, p->r));
  return n2 > (double)p->clip * p->clip ? (float)(p->clip / __builtin_sqrt(n2)) : 1;
}

// Every entry of the step at most MAX_STEP; written so that NaN fails. `x` and `e` are upper bounds of the largest |x| and |e|.
static int is_bounded(const float *h, const float *g, int r, float c, float x, float e) {
  for (int k = 0; k < r; k++)
    if (!(__builtin_fabsf(c * h[k]) * e <= MAX_STEP && __builtin_fabsf(c * g[k]) * x <= MAX_STEP)) return 0;
  return 1;
}

// dB = scale * h^T e, dA = scale * x^T (e B^T); B -= lr dB, A -= lr dA, both from the weights before the step.
EXPORT(microlora_adapt) int microlora_adapt(const microlora_adapt_args *p, int thread, int threads) {
  if (thread) return OK;
  int d = p->d, r = p->r, pair = is_pair(d, r);
  if (bad_shape(d, r) || !(p->lr >= 0)) return INVALID_PARAMS;
  float *h = p->h, *g = p->h + r, most_x = 0, most_e = 0;
  if (pair) {
    most_x = pair_measure(p->a, p->x, (unsigned)d, h);
    most_e = pair_measure(p->b, p->e, (unsigned)d, g);
  } else {
    project(p->a, p->x, h, d, r);
    project(p->b, p->e, g, d, r);
  }
  if (suspicious(h, 2 * r) && !(finite(p->x, d) && finite(p->e, d))) return INVALID_INPUT;
  float c = -p->lr * p->scale * clip_factor(p);
  if (!(pair && is_bounded(h, g, r, c, most_x, most_e)) && !is_bounded(h, g, r, c, max_abs(p->x, d), max_abs(p->e, d))) return INTERNAL_ERROR;
  if (pair) {
    pair_step(p->a, p->x, (unsigned)d, c * g[0], c * g[1]);
    pair_step(p->b, p->e, (unsigned)d, c * h[0], c * h[1]);
    return OK;
  }
  for (int k = 0; k < r; k++) {
    axpy(p->b + k * d, p->b + k * d, c * h[k], p->e, d);
    axpy(p->a + k * d, p->a + k * d, c * g[k], p->x, d);
  }
  return OK;
}
