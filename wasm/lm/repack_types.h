// The block formats of GGUF files, each as the parts of one block of 32 columns. Sources: the format's public description; NumPy twins in
// edgenet/formats/blocks.py.
#pragma once
#include "repack.h"

// Bit 4 K + j of the word, for each K = 0..7, to bit K of byte j.
INLINE uint32_t fifth_bits(uint32_t bits) {
  uint32_t out = 0;
  UNROLL for (int j = 0; j < 4; j++) {
    uint32_t t = bits >> j & 0x11111111;
    t = (t | t >> 3) & 0x03030303, t = (t | t >> 6) & 0x000f000f, t = (t | t >> 12) & 0xff;
    out |= t << 8 * j;
  }
  return out;
}

// Bytes of four words, `step` bits each, side by side in one word: word k goes to bits k * step.
INLINE uint32_t stacked(v128_t v, int step) {
  return (uint32_t)wasm_i32x4_extract_lane(v, 0) | (uint32_t)wasm_i32x4_extract_lane(v, 1) << step |
         (uint32_t)wasm_i32x4_extract_lane(v, 2) << 2 * step | (uint32_t)wasm_i32x4_extract_lane(v, 3) << 3 * step;
}

// Bits from `shift` on of each byte, as far as `mask`.
INLINE v128_t field(v128_t v, int shift, int mask) { return wasm_v128_and(wasm_u8x16_shr(v, (uint32_t)shift), wasm_i8x16_splat((int8_t)mask)); }

INLINE void set_scale(parts *to, uint16_t scale, uint16_t second) { to->scale[0] = scale, to->scale[1] = second; }

INLINE uint32_t read_word(const uint8_t *p) { return (uint32_t)wasm_i32x4_extract_lane(wasm_v128_load32_zero(p), 0); }

// d (q - 8)
INLINE void part_q4_0(const uint8_t *p, int index, parts *to) { set_scale(to, read_half(p), 0), to->bits = LOAD(p + 2); }

// d q + m
INLINE void part_q4_1(const uint8_t *p, int index, parts *to) { set_scale(to, read_half(p), read_half(p + 2)), to->bits = LOAD(p + 4); }

// d (q - 16)
INLINE void part_q5_0(const uint8_t *p, int index, parts *to) {
  set_scale(to, read_half(p), half_times(read_half(p), -16)), to->bits = LOAD(p + 6), to->top[0] = fifth_bits(read_word(p + 2));
}

// d q + m
INLINE void part_q5_1(const uint8_t *p, int index, parts *to) {
  set_scale(to, read_half(p), read_half(p + 2)), to->bits = LOAD(p + 8), to->top[0] = fifth_bits(read_word(p + 4));
}

// d q
INLINE void part_q8_0(const uint8_t *p, int index, parts *to) {
  set_scale(to, read_half(p), 0), to->bytes[0] = LOAD(p + 2), to->bytes[1] = LOAD(p + 18);
}

// Scale and minimum of block `index` of a superblock, 6 bits each: d scale q - dmin minimum.
INLINE void k_scales(const uint8_t *p, int index, parts *to) {
  const uint8_t *q = p + 4;
  int scale = index < 4 ? q[index] & 63 : (q[index + 4] & 15) | q[index - 4] >> 6 << 4;
  int least = index < 4 ? q[index + 4] & 63 : q[index + 4] >> 4 | q[index] >> 6 << 4;
  set_scale(to, half_times(read_half(p), (float)scale), half_times(read_half(p + 2), (float)-least));
}

// Block `index` is one nibble of 32 bytes that it shares with its neighbour.
INLINE v128_t k_nibbles(const uint8_t *bytes, int high) {
  v128_t low = field(LOAD(bytes), 4 * high, 15), up = field(LOAD(bytes + 16), 4 * high, 15);
  return wasm_v128_or(low, wasm_i8x16_shl(up, 4));
}

INLINE void part_q4_k(const uint8_t *p, int index, parts *to) {
  k_scales(p, index, to), to->bits = k_nibbles(p + 16 + index / 2 * 32, index % 2);
}

INLINE void part_q5_k(const uint8_t *p, int index, parts *to) {
  k_scales(p, index, to), to->bits = k_nibbles(p + 48 + index / 2 * 32, index % 2);
  to->top[0] = stacked(field(LOAD(p + 16), index, 1), 1) | stacked(field(LOAD(p + 32), index, 1), 1) << 4;
}

// d scale (q - 32), a scale for 16 columns
INLINE void part_q6_k(const uint8_t *p, int index, parts *to) {
  const uint8_t *low = p + index / 4 * 64 + index % 2 * 32, *top = p + 128 + index / 4 * 32;
  const int8_t *scale = (const int8_t *)p + 192 + 2 * index;
  set_scale(to, half_times(read_half(p + 208), scale[0]), half_times(read_half(p + 208), scale[1]));
  to->bits = k_nibbles(low, index % 4 / 2);
  UNROLL for (int h = 0; h < 2; h++) to->top[h] = stacked(field(LOAD(top + 16 * h), 2 * (index % 4), 3), 2);
}
