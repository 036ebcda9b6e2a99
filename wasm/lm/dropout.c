// Dropout (Srivastava et al. 2014) whose mask is a function of the seed, the site, the step and an element's place: the backward pass draws it
// again instead of keeping it, and a run that goes on from a checkpoint draws what it would have drawn.
#include "lm.h"
#include "philox.h"

typedef struct {
  const float *x;         // n x d
  const uint32_t *seeds;  // seed low, seed high, step, 0
  float *y;               // n x d; may be x
  int32_t n, d;
  float rate;
  uint32_t stream;
} dropout_args;

// Element i is word i % 4 of the noise for the counter (i / 4, stream, step, 0); kept where its upper 24 bits / 2^24 >= rate.
OP(dropout) {
  if (a->n < 0 || a->d <= 0 || !(a->rate >= 0 && a->rate < 1)) return INVALID_PARAMS;
  int i, end;
  share(a->n * a->d, 16, thread, threads, &i, &end);
  v128_t rate = wasm_f32x4_splat(a->rate), factor = wasm_f32x4_splat((float)(1 / (1 - (double)a->rate)));
  for (; i < end; i += 4) {
    uint32_t noise[4] = {(uint32_t)i / 4, a->stream, a->seeds[2], 0};
    philox(a->seeds, noise);
    v128_t u = wasm_f32x4_mul(wasm_f32x4_convert_u32x4(wasm_u32x4_shr(LOAD(noise), 8)), wasm_f32x4_const_splat(0x1p-24f));
    v128_t kept = wasm_v128_and(factor, wasm_f32x4_ge(u, rate));  // what is dropped is multiplied by 0: NaN stays NaN
    store_some(a->y + i, wasm_f32x4_mul(load_some(a->x + i, end - i), kept), end - i);
  }
  return OK;
}
