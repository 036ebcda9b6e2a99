// Element by element over n rows of d: a thread's share is a range of the n * d numbers. The output may be one of the inputs.
#include "math.h"

// out = f(x, y, k) for `count` numbers, a multiple of 4
typedef void loop(const float *x, const float *y, float *out, v128_t k, int count);

#define LOOP(name, value)                                                           \
  static void name(const float *xs, const float *ys, float *out, v128_t k, int count) { \
    for (int i = 0; i < count; i += 4) {                                            \
      v128_t x = LOAD(xs + i), y = LOAD(ys + i);                                    \
      (void)y, (void)k;                                                             \
      wasm_v128_store(out + i, value);                                              \
    }                                                                               \
  }

// The last numbers of all go through the same loop, from and to a vector of their own.
static int each(loop *f, const float *x, const float *y, float *out, int n, int d, float k, int thread, int threads) {
  if (n < 0 || d <= 0) return INVALID_PARAMS;
  int begin, end;
  share(n * d, 16, thread, threads, &begin, &end);
  int whole = (end - begin) & ~3, left = (end - begin) & 3, last = begin + whole;
  v128_t constant = wasm_f32x4_splat(k);
  f(x + begin, y + begin, out + begin, constant, whole);
  if (left) {
    float xs[4], ys[4];
    wasm_v128_store(xs, load_some(x + last, left));
    wasm_v128_store(ys, load_some(y + last, left));
    f(xs, ys, xs, constant, 4);
    store_some(out + last, LOAD(xs), left);
  }
  return OK;
}

LOOP(sum, wasm_f32x4_add(x, y))
LOOP(product, wasm_f32x4_mul(x, y))
LOOP(times, wasm_f32x4_mul(x, k))
LOOP(capped, wasm_f32x4_mul(k, tanh4(wasm_f32x4_div(x, k))))

typedef struct {
  const float *x, *y;  // n x d
  float *out;          // n x d
  int32_t n, d;
} add_args;

OP(add) { return each(sum, a->x, a->y, a->out, a->n, a->d, 0, thread, threads); }

typedef struct {
  const float *x, *y;  // n x d
  float *out;          // n x d
  int32_t n, d;
} mul_args;

OP(mul) { return each(product, a->x, a->y, a->out, a->n, a->d, 0, thread, threads); }

typedef struct {
  const float *x;  // n x d
  float *out;      // n x d
  int32_t n, d;
  float factor;
} scale_args;

OP(scale) { return each(times, a->x, a->x, a->out, a->n, a->d, a->factor, thread, threads); }

typedef struct {
  const float *x;  // n x d
  float *out;      // n x d
  int32_t n, d;
  float cap;
} softcap_args;

// cap tanh(x / cap)
OP(softcap) { return a->cap > 0 ? each(capped, a->x, a->x, a->out, a->n, a->d, a->cap, thread, threads) : INVALID_PARAMS; }

#define ACTS(X) X(NONE) X(SILU) X(GELU) X(GELU_ERF) X(RELU)
#define LOOPS(act) LOOP(act_##act, activate(x, ACT_##act)) LOOP(gate_##act, wasm_f32x4_mul(activate(x, ACT_##act), y))
#define ACT_LOOP(act) [ACT_##act] = act_##act,
#define GATE_LOOP(act) [ACT_##act] = gate_##act,
ACTS(LOOPS)
static loop *const act_loops[] = {ACTS(ACT_LOOP)}, *const gate_loops[] = {ACTS(GATE_LOOP)};

typedef struct {
  const float *x;  // n x d
  float *out;      // n x d
  int32_t n, d;
  uint32_t act;
} activation_args;

OP(activation) { return a->act > ACT_RELU ? INVALID_PARAMS : each(act_loops[a->act], a->x, a->x, a->out, a->n, a->d, 0, thread, threads); }

typedef struct {
  const float *gate, *up;  // n x d
  float *out;              // n x d
  int32_t n, d;
  uint32_t act;
} glu_args;

// act(gate) * up
OP(glu) { return a->act > ACT_RELU ? INVALID_PARAMS : each(gate_loops[a->act], a->gate, a->up, a->out, a->n, a->d, 0, thread, threads); }
