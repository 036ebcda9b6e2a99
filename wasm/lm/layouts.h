// How weights and quantised rows lie in memory: the kernels' twin of edgenet/kernels/lm/layouts.py (a test compares the two).
#pragma once
#include "lm.h"

enum { LAYOUT_F32, LAYOUT_F16, LAYOUT_BF16, LAYOUT_Q4, LAYOUT_Q4M, LAYOUT_Q5M, LAYOUT_Q6, LAYOUT_Q8, LAYOUT_COUNT };

#define BLOCK 32  // columns of a block
#define GROUP 4   // output rows that lie interleaved
#define PANEL 4   // quantised rows that lie interleaved

// One block of four quantised rows. The integers of a block times `scale` are the values; a multiplication by 127 / amax and rounding to
// nearest, ties to even, made them. q16 counts in 1/256 of the same step.
// A pair is two int16 in a word: sums over columns 0, 1 of every four, and over columns 2, 3. They start the accumulators of unsigned weights
// (see dot.h) and are already multiplied by minus the weights' centre.
typedef struct {
  struct {
    float scale, sum;  // sum: of the values
    int32_t pair8, pair16, pair32[2];  // over the block, over the block, over either half
  } meta[PANEL];
  int8_t q8[PANEL][BLOCK];
  int16_t q16[PANEL][BLOCK];
} panel_block;

// One block of four output rows. `bits`, for vectors k = 0..3: byte 4 r + j holds columns 4 k + j (low nibble) and 16 + 4 k + j (high nibble)
// of row r. `fifth`: bit k of byte 4 r + j belongs to column 4 k + j, k = 0..7. `top[h]`: bits 2 k, 2 k + 1 to column 16 h + 4 k + j.
// q8: bytes 8 p + 2 r + j hold column 2 p + j of row r.
typedef struct { uint16_t scale[GROUP]; uint8_t bits[64]; } q4_block;
typedef struct { uint16_t scale[GROUP], least[GROUP]; uint8_t bits[64]; } q4m_block;
typedef struct { uint16_t scale[GROUP], least[GROUP]; uint8_t bits[64], fifth[16]; } q5m_block;
typedef struct { uint16_t scale[2][GROUP]; uint8_t bits[64], top[2][16]; } q6_block;
typedef struct { uint16_t scale[GROUP]; int8_t bits[128]; } q8_block;

// Bytes of `unit` columns of one stored unit: a group's block, or one number.
static const uint8_t layout_bytes[LAYOUT_COUNT] = {4, 2, 2, sizeof(q4_block), sizeof(q4m_block), sizeof(q5m_block), sizeof(q6_block), sizeof(q8_block)};

INLINE int is_quantized(uint32_t layout) { return layout >= LAYOUT_Q4; }

// Four f16 to f32, subnormals included: the bits moved to an f32's place mean 2^-112 of the value. No Inf or NaN: repack refuses them.
INLINE v128_t half4(const void *p) {
  v128_t bits = wasm_v128_and(wasm_i32x4_shl(wasm_i32x4_load16x4(p), 13), wasm_i32x4_const_splat((int32_t)0x8fffe000));
  return wasm_f32x4_mul(bits, wasm_f32x4_const_splat(0x1p112f));
}

// Four bfloat16: the upper halves of f32.
INLINE v128_t bfloat4(const void *p) { return wasm_i32x4_shl(wasm_u32x4_load16x4(p), 16); }

// Numbers i … i + 3 of a row of plain numbers; those from `left` on are 0.
INLINE v128_t numbers(const int form, const uint8_t *w, int i, int left) {
  if (form == LAYOUT_F32) return load_some((const float *)w + i, left);
  uint16_t some[4] = {0};
  const uint16_t *at = (const uint16_t *)w + i;
  if (left < 4) {
    for (int k = 0; k < left; k++) some[k] = at[k];
    at = some;
  }
  return form == LAYOUT_F16 ? half4(at) : bfloat4(at);
}
