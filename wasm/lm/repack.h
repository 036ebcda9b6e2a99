// What the file types (repack_types.h) hand to the layouts (repack.c).
#pragma once
#include "layouts.h"

// A block of 32 weights of one row, in the words that layouts are made of.
typedef struct {
  uint16_t scale[2];  // f16: scale and least, or (q6) the scales of both halves
  v128_t bits;        // byte i: low nibble of columns i and, above it, 16 + i
  v128_t bytes[2];    // q8: int8 of both halves
  uint32_t top[2];    // q5m: `fifth` of the row; q6: `top` of the row in both halves
} parts;

// Block `index` of the file's block at `from`.
typedef void part_function(const uint8_t *from, int index, parts *to);

INLINE int finite_half(uint16_t h) { return (h & 0x7c00) != 0x7c00; }

INLINE uint16_t read_half(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

INLINE float bits_float(uint32_t u) { return (union { uint32_t u; float f; }){.u = u}.f; }
INLINE uint32_t float_bits(float f) { return (union { float f; uint32_t u; }){.f = f}.u; }

// f32 of a finite f16 (see half4)
INLINE float half_value(uint16_t h) { return bits_float((uint32_t)(h & 0x8000) << 16 | (uint32_t)(h & 0x7fff) << 13) * 0x1p112f; }

// Nearest f16, ties to even; Inf from 65520 on and for NaN. Below 2^-14 the addition of 0.5 rounds to the fixed step of subnormals.
static inline uint16_t nearest_half(float f) {
  uint32_t sign = float_bits(f) >> 16 & 0x8000, u = float_bits(f) & 0x7fffffff;
  if (u >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
  if (u < 0x38800000) return (uint16_t)(sign | (float_bits(bits_float(u) + 0.5f) - 0x3f000000));
  return (uint16_t)(sign | (u + 0xfff + (u >> 13 & 1) - 0x38000000) >> 13);
}

// f16 of h * factor; Inf when h is Inf or NaN, or the product is too large
INLINE uint16_t half_times(uint16_t h, float factor) { return finite_half(h) ? nearest_half(half_value(h) * factor) : 0x7c00; }
