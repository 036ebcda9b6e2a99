// Quantised rows (layouts.h), plain or straight from a norm. With a stride every thread writes all rows into a copy of its own, so that no
// barrier is needed before the matmul that reads them; else threads split the rows.
#include "layouts.h"
#include "norm.h"

// Pairs of one half: lanes are sums of neighbouring columns; even and odd lanes are added up apart.
INLINE v128_t pairs(v128_t bytes) {
  v128_t s = wasm_i16x8_extadd_pairwise_i8x16(bytes);
  s = wasm_i16x8_add(s, wasm_i32x4_shuffle(s, s, 2, 3, 0, 1));
  return wasm_i16x8_add(s, wasm_i32x4_shuffle(s, s, 1, 0, 3, 2));
}

INLINE int32_t times(v128_t pair, int centre) { return wasm_i32x4_extract_lane(wasm_i16x8_mul(pair, wasm_i16x8_splat((int16_t)-centre)), 0); }

// Sixteen values times `inverse`, to the nearest integer, ties to even: adding 1.5 * 2^23 leaves no bits for a fraction.
INLINE void rounded(const v128_t *v, v128_t inverse, v128_t *low, v128_t *high) {
  const v128_t large = wasm_f32x4_const_splat(0x1.8p23f);
  v128_t q[4];
  UNROLL for (int i = 0; i < 4; i++) q[i] = wasm_i32x4_sub(wasm_f32x4_add(wasm_f32x4_mul(v[i], inverse), large), large);
  *low = wasm_i16x8_narrow_i32x4(q[0], q[1]), *high = wasm_i16x8_narrow_i32x4(q[2], q[3]);
}

// The largest magnitude of 32 values. Bits of positive floats compare as integers, NaN above all.
INLINE float largest(const v128_t *v) {
  v128_t m = wasm_f32x4_abs(v[0]);
  UNROLL for (int i = 1; i < 8; i++) m = wasm_i32x4_max(m, wasm_f32x4_abs(v[i]));
  m = wasm_i32x4_max(m, wasm_i32x4_shuffle(m, m, 2, 3, 0, 1));
  m = wasm_i32x4_max(m, wasm_i32x4_shuffle(m, m, 1, 0, 3, 2));
  return wasm_f32x4_extract_lane(m, 0);
}

// A block of 32 values into row `row` of a panel. NaN and Inf make the scale NaN or Inf, so that they reach the output. Blocks below 2^-100
// become 0: 127 / amax must stay finite.
INLINE void quantize_block(const v128_t *v, panel_block *to, int row) {
  v128_t half[2];
  float amax = largest(v);
  int zero = amax < 0x1p-100f;
  float scale = zero ? 0 : amax / 127, inverse = zero ? 0 : 127 / amax;
  UNROLL for (int h = 0; h < 2; h++) {
    v128_t low, high;
    rounded(v + 4 * h, wasm_f32x4_splat(inverse), &low, &high);
    v128_t bytes = wasm_i8x16_narrow_i16x8(low, high);
    wasm_v128_store(to->q8[row] + 16 * h, bytes);
    half[h] = pairs(bytes);
    rounded(v + 4 * h, wasm_f32x4_splat(inverse * 256), &low, &high);
    wasm_v128_store(to->q16[row] + 16 * h, low);
    wasm_v128_store(to->q16[row] + 16 * h + 8, high);
  }
  v128_t both = wasm_i16x8_add(half[0], half[1]);
  to->meta[row].scale = scale;
  to->meta[row].sum = scale * (wasm_i16x8_extract_lane(both, 0) + wasm_i16x8_extract_lane(both, 1));
  to->meta[row].pair8 = times(both, 8);
  to->meta[row].pair16 = times(both, 16);
  UNROLL for (int h = 0; h < 2; h++) to->meta[row].pair32[h] = times(half[h], 32);
}

// The rows a thread makes, and where. `value` gives four numbers of row `x` at column c; `prepare` what it needs of the row.
#define QUANTIZE_ROWS(prepare, value)                                                          \
  if (a->n < 0 || a->d <= 0 || a->d % BLOCK) return INVALID_PARAMS;                            \
  int begin = 0, end = a->n, d = a->d, blocks = d / BLOCK;                                     \
  if (!a->stride) share(a->n, 1, thread, threads, &begin, &end);                               \
  panel_block *y = (panel_block *)(a->y + (size_t)thread * a->stride);                         \
  for (int row = begin; row < end; row++) {                                                    \
    const float *x = a->x + (size_t)row * d;                                                   \
    panel_block *to = y + (size_t)(row / PANEL) * blocks;                                      \
    prepare;                                                                                   \
    for (int b = 0; b < blocks; b++) {                                                         \
      v128_t v[8];                                                                             \
      UNROLL for (int i = 0, c = b * BLOCK; i < 8; i++, c += 4) v[i] = value;                  \
      quantize_block(v, to + b, row % PANEL);                                                  \
    }                                                                                          \
  }                                                                                            \
  return OK;

typedef struct {
  const float *x;  // n x d
  uint8_t *y;      // quantised rows
  int32_t n, d, stride;
} quantize_args;

OP(quantize) { QUANTIZE_ROWS((void)0, LOAD(x + c)) }

typedef struct {
  const float *x;       // n x d
  const float *weight;  // d, or 0
  uint8_t *y;           // quantised rows
  int32_t n, d;
  float eps;
  int32_t stride;
} rms_norm_quantize_args;

OP(rms_norm_quantize) { QUANTIZE_ROWS(v128_t inverse = wasm_f32x4_splat(rms_inverse(x, d, a->eps)), rms_at(x, a->weight, inverse, c, 4)) }

typedef struct {
  const float *x;       // n x d
  const float *weight;  // d
  const float *bias;    // d, or 0
  uint8_t *y;           // quantised rows
  int32_t n, d;
  float eps;
  int32_t stride;
} layer_norm_quantize_args;

OP(layer_norm_quantize) { QUANTIZE_ROWS(moments at = layer_moments(x, d, a->eps), layer_at(x, a->weight, a->bias, at, c, 4)) }
