// Optimisers on flat arrays of parameters, changed in place; gradients become 0. Threads split elements.
#include "lm.h"

typedef struct {
  const float *x;  // count
  float *y;        // 1
  int32_t count;
} norm_args;

// sqrt(sum x^2). One thread: the sum would depend on their number, and reading 4 MB is nothing beside a training step.
OP(norm) {
  if (a->count < 0) return INVALID_PARAMS;
  if (thread == 0) *a->y = (float)__builtin_sqrt(sum_squares(a->x, a->count));
  return OK;
}

typedef struct {
  float rate, beta1, beta2, epsilon, decay;
  float clip;  // most the norm of the gradients may be; 0: anything
  float correction1, correction2;
  float factor;  // 1 / what gradients were summed over
  float momentum;
  float rest1, rest2;  // 1 - beta1, 1 - beta2: taken from betas in f32 they would be 1e-5 off
  float reserved[4];
} hyper;

// What gradients are multiplied by: `factor`, and what brings their norm down to `clip`, as torch.nn.utils.clip_grad_norm_ does
static float gradient_factor(const hyper *h, float norm) {
  float length = norm * h->factor, most = h->clip / (length + 1e-6f);
  return h->clip > 0 && !(most >= 1) ? h->factor * most : h->factor;
}

// Numbers that would destroy the parameters are refused before any is changed.
static int refusal(const hyper *h, const float *norm, int count) {
  if (count < 0) return INVALID_PARAMS;
  return finite(&h->rate, sizeof *h / sizeof(float)) && finite(norm, 1) ? OK : INVALID_INPUT;
}

// What AdamW divides by must leave numbers: 0 / 0 of a parameter without gradient would be none.
static int division(const hyper *h) {
  const float quotients[] = {h->rate / h->correction1, 1 / __builtin_sqrtf(h->correction2), 1 / h->epsilon};
  return finite(quotients, 3) ? OK : INVALID_INPUT;
}

INLINE v128_t lerp(v128_t x, v128_t y, v128_t rest) { return madd(wasm_f32x4_sub(y, x), rest, x); }

typedef struct {
  float *parameters, *gradients, *first, *second;  // count each
  const float *norm;                               // 1: of the gradients
  const hyper *hyper;
  int32_t count;
} adamw_args;

// Loshchilov & Hutter 2019; operations in the order of torch.optim.AdamW
OP(adamw) {
  const hyper *h = a->hyper;
  int i, end, refused = refusal(h, a->norm, a->count);
  if (refused || (refused = division(h))) return refused;
  share(a->count, 16, thread, threads, &i, &end);
  v128_t factor = wasm_f32x4_splat(gradient_factor(h, *a->norm)), keep = wasm_f32x4_splat(1 - h->rate * h->decay), beta2 = wasm_f32x4_splat(h->beta2);
  v128_t rest1 = wasm_f32x4_splat(h->rest1), rest2 = wasm_f32x4_splat(h->rest2), epsilon = wasm_f32x4_splat(h->epsilon);
  v128_t step = wasm_f32x4_splat(-h->rate / h->correction1), root = wasm_f32x4_splat(__builtin_sqrtf(h->correction2)), zero = wasm_f32x4_const_splat(0);
  for (; i < end; i += 4) {
    int left = end - i;
    v128_t g = wasm_f32x4_mul(load_some(a->gradients + i, left), factor), p = wasm_f32x4_mul(load_some(a->parameters + i, left), keep);
    v128_t m = lerp(load_some(a->first + i, left), g, rest1);
    v128_t v = madd(wasm_f32x4_mul(g, g), rest2, wasm_f32x4_mul(load_some(a->second + i, left), beta2));
    v128_t size = wasm_f32x4_add(wasm_f32x4_div(wasm_f32x4_sqrt(v), root), epsilon);
    store_some(a->first + i, m, left), store_some(a->second + i, v, left), store_some(a->gradients + i, zero, left);
    store_some(a->parameters + i, wasm_f32x4_add(p, wasm_f32x4_mul(step, wasm_f32x4_div(m, size))), left);
  }
  return OK;
}

typedef struct {
  float *parameters, *gradients, *momentum;  // count each
  const float *norm;                         // 1: of the gradients
  const hyper *hyper;
  int32_t count;
} sgd_args;

// As torch.optim.SGD with momentum; weight decay is AdamW's, apart from the gradient
OP(sgd) {
  const hyper *h = a->hyper;
  int i, end, refused = refusal(h, a->norm, a->count);
  if (refused) return refused;
  share(a->count, 16, thread, threads, &i, &end);
  v128_t factor = wasm_f32x4_splat(gradient_factor(h, *a->norm)), keep = wasm_f32x4_splat(1 - h->rate * h->decay);
  v128_t momentum = wasm_f32x4_splat(h->momentum), step = wasm_f32x4_splat(-h->rate), zero = wasm_f32x4_const_splat(0);
  for (; i < end; i += 4) {
    int left = end - i;
    v128_t g = wasm_f32x4_mul(load_some(a->gradients + i, left), factor), p = wasm_f32x4_mul(load_some(a->parameters + i, left), keep);
    v128_t m = madd(load_some(a->momentum + i, left), momentum, g);
    store_some(a->momentum + i, m, left), store_some(a->gradients + i, zero, left);
    store_some(a->parameters + i, madd(m, step, p), left);
  }
  return OK;
}
