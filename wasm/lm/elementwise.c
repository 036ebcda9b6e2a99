// Element by element over n rows of d.
#include "elementwise.h"

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
  float *into;     // r x d
  const float *x;  // r x d
  int32_t r, d;
} accumulate_args;

// into += x
OP(accumulate) { return each(sum, a->into, a->x, a->into, a->r, a->d, 0, thread, threads); }

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
