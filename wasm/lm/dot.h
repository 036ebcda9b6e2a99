// Products of groups of weights (four output rows each) with 1 or 4 quantised rows. Everything is inlined and its constants folded: `form` and
// `n` are known where dots.c names them.
//
// A vector of weights holds four columns of each of the four rows, so that a lane belongs to one output and nothing is summed across lanes.
// Columns are multiplied as integers and summed exactly over a block; only then scales come in, in f32, block after block in order. So a row
// gives the same bits alone and among others, and builds differ by the rounding of `madd` alone.
//
// Relaxed: i16x8.relaxed_dot multiplies int8 by 7-bit weights, which is exact on every machine, and V8 makes it one instruction on all x64 (the
// i32x4 form becomes five where AVX-VNNI lacks; on ARM that form is the shorter one). A lane sums 16 products. Unsigned weights would leave
// int16 on the way, but the true sum minus the centre's share never does (16 * 16 * 127 < 2^15), and additions wrap: so lanes start at
// -centre * (sum of their activations).
#pragma once
#include "dots.h"

// Nothing, but what is computed before it stays before it. Left alone, the compiler finishes one sum after the other and keeps all that they
// share on the stack meanwhile: 8-bit weights then run at two thirds of this.
INLINE void settle(v128_t *v) { __asm__ volatile("" : "+r"(*v)); }

INLINE int centre_of(int form) { return form == LAYOUT_Q4 ? 8 : form == LAYOUT_Q5M ? 16 : form == LAYOUT_Q6 ? 32 : 0; }

#ifdef __wasm_relaxed_simd__

typedef v128_t sum;
#define SUMS 8  // that registers hold beside what they are made of

INLINE sum start(const panel_block *x, int row, int form, int half) {
  switch (form) {
    case LAYOUT_Q4: return wasm_v128_load32_splat(&x->meta[row].pair8);
    case LAYOUT_Q5M: return wasm_v128_load32_splat(&x->meta[row].pair16);
    case LAYOUT_Q6: return wasm_v128_load32_splat(&x->meta[row].pair32[half]);
    default: return wasm_i16x8_const_splat(0);
  }
}

INLINE void add_products(sum *s, v128_t x, v128_t weights, int form) {
  *s = wasm_i16x8_add(*s, wasm_i16x8_relaxed_dot_i8x16_i7x16(x, weights));
}

INLINE v128_t total(sum s) { return wasm_i32x4_extadd_pairwise_i16x8(s); }

INLINE void settle_sum(sum *s) { settle(s); }

#else

typedef struct { v128_t low, high; } sum;  // rows 0, 1 and rows 2, 3: two lanes each
#define SUMS 4

INLINE sum start(const panel_block *x, int row, int form, int half) { return (sum){0}; }

INLINE void add_products(sum *s, v128_t x, v128_t weights, int form) {
  v128_t w = wasm_i8x16_sub(weights, wasm_i8x16_splat((int8_t)centre_of(form))), four = wasm_i16x8_extend_low_i8x16(x);
  s->low = wasm_i32x4_add(s->low, wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(w), four));
  s->high = wasm_i32x4_add(s->high, wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(w), four));
}

INLINE v128_t total(sum s) {
  return wasm_i32x4_add(wasm_i32x4_shuffle(s.low, s.high, 0, 2, 4, 6), wasm_i32x4_shuffle(s.low, s.high, 1, 3, 5, 7));
}

INLINE void settle_sum(sum *s) { settle(&s->low), settle(&s->high); }

#endif

#define EACH(j, n) UNROLL for (int j = 0; j < (n); j++)

// acc += scale * (d * integers)
INLINE void scaled(v128_t *acc, v128_t integers, const panel_block *x, int row, v128_t scale) {
  *acc = madd(scale, wasm_f32x4_mul(wasm_f32x4_convert_i32x4(integers), wasm_v128_load32_splat(&x->meta[row].scale)), *acc);
}

INLINE void add_least(v128_t *acc, const panel_block *x, int row, v128_t least) {
  *acc = madd(least, wasm_v128_load32_splat(&x->meta[row].sum), *acc);
}

// Columns 4 k .. 4 k + 3 (half 0) or 16 + 4 k … (half 1) of four rows, as unsigned bytes.
INLINE v128_t nibbles(const uint8_t *bits, int k, int half) {
  v128_t v = LOAD(bits + 16 * k);
  return wasm_v128_and(half ? wasm_u16x8_shr(v, 4) : v, wasm_i8x16_const_splat(15));
}

// Bits `from`, … of each byte moved to bits `to`, …; the others cleared by `mask`. Bits that cross a byte's border are among the cleared.
INLINE v128_t moved(v128_t v, int from, int to, int mask) {
  v = from > to ? wasm_u16x8_shr(v, from - to) : wasm_i16x8_shl(v, to - from);
  return wasm_v128_and(v, wasm_i8x16_splat((int8_t)mask));
}

INLINE v128_t unpacked(const uint8_t *w, int form, int k, int half) {
  switch (form) {
    case LAYOUT_Q4: return nibbles(((const q4_block *)w)->bits, k, half);
    case LAYOUT_Q4M: return nibbles(((const q4m_block *)w)->bits, k, half);
    case LAYOUT_Q5M: {
      const q5m_block *q = (const q5m_block *)w;
      return wasm_v128_or(nibbles(q->bits, k, half), moved(LOAD(q->fifth), 4 * half + k, 4, 0x10));
    }
    default: {
      const q6_block *q = (const q6_block *)w;
      return wasm_v128_or(nibbles(q->bits, k, half), moved(LOAD(q->top[half]), 2 * k, 4, 0x30));
    }
  }
}

INLINE v128_t scale_of(const uint8_t *w, int form, int half) { return half4(form == LAYOUT_Q6 ? w + 8 * half : w); }

INLINE int has_least(int form) { return form == LAYOUT_Q4M || form == LAYOUT_Q5M; }

// What a block adds for the minima of four rows: least + centre * scale, as the integers were taken less the centre.
INLINE v128_t least_of(const uint8_t *w, int form) {
  v128_t least = half4(((const q4m_block *)w)->least);
  return form == LAYOUT_Q5M ? madd(wasm_f32x4_const_splat(16), half4(w), least) : least;
}

// A block unpacked: bits[k] holds columns 4 k … 4 k + 3 of each row.
typedef struct {
  float scale[2][GROUP], least[GROUP];
  uint8_t bits[8][16];
} open_block;

// acc[g][j] += block w[g] (`open`: an open_block) times row j of a panel's block.
INLINE void block_of_bytes(const int form, const int open, const int groups, const int n, const uint8_t *const *w, const panel_block *x, v128_t acc[][PANEL]) {
  sum s[STREAMS][PANEL];
  UNROLL for (int half = 0; half < 2; half++) {
    if (half == 0 || form == LAYOUT_Q6) EACH(g, groups) EACH(j, n) s[g][j] = start(x, j, form, half);
    UNROLL for (int k = 0; k < 4; k++) {
      v128_t v[STREAMS];
      EACH(g, groups) v[g] = open ? LOAD(((const open_block *)w[g])->bits[4 * half + k]) : unpacked(w[g], form, k, half);
      EACH(j, n) {
        v128_t four = wasm_v128_load32_splat(&x->q8[j][16 * half + 4 * k]);
        EACH(g, groups) add_products(&s[g][j], four, v[g], form);
      }
      if (n > 1 && (open || form != LAYOUT_Q6)) EACH(g, groups) EACH(j, n) settle_sum(&s[g][j]);  // where it is faster
    }
    if (half == 0 && form != LAYOUT_Q6) continue;
    EACH(g, groups) {
      v128_t scale = open ? LOAD(((const open_block *)w[g])->scale[half]) : scale_of(w[g], form, half);
      EACH(j, n) scaled(&acc[g][j], total(s[g][j]), x, j, scale);
    }
  }
  if (!has_least(form)) return;
  EACH(g, groups) {
    v128_t least = open ? LOAD(((const open_block *)w[g])->least) : least_of(w[g], form);
    EACH(j, n) add_least(&acc[g][j], x, j, least);
  }
}

// 8-bit weights need 16-bit products either way, so they take the finer activations: 32 * 128 * 32512 < 2^31.
INLINE void block_of_words(const int groups, const int n, const uint8_t *const *w, const panel_block *x, v128_t acc[][PANEL]) {
  v128_t s[STREAMS][PANEL];
  EACH(g, groups) EACH(j, n) s[g][j] = wasm_i32x4_const_splat(0);
  _Pragma("clang loop unroll_count(4)") for (int p = 0; p < 16; p++) {  // all of it would be a third of the module
    v128_t v[STREAMS];
    EACH(g, groups) v[g] = wasm_i16x8_load8x8(((const q8_block *)w[g])->bits + 8 * p);
    EACH(j, n) {
      v128_t two = wasm_v128_load32_splat(&x->q16[j][2 * p]);
      EACH(g, groups) s[g][j] = wasm_i32x4_add(s[g][j], wasm_i32x4_dot_i16x8(two, v[g]));
    }
    EACH(g, groups) EACH(j, n) settle(&s[g][j]);
  }
  EACH(g, groups) {
    v128_t scale = half4(w[g]);
    EACH(j, n) scaled(&acc[g][j], s[g][j], x, j, scale);
  }
}

INLINE void block_of(const int form, const int groups, const int n, const uint8_t *const *w, const panel_block *x, v128_t acc[][PANEL]) {
  if (form == LAYOUT_Q8) block_of_words(groups, n, w, x, acc);
  else block_of_bytes(form, 0, groups, n, w, x, acc);
}

// out[g][j], lane r: row r of the group at w[g] times quantised row j of the panels at `x`, over all blocks. The groups are read side by side:
// one stream of memory does not come as fast as several (measured 9 GB/s against 13). As many as there are
// sums for share what they load of x.
INLINE void dot_groups(const int form, const int groups, const int n, const uint8_t *const *w, const panel_block *x, int blocks, tile out) {
  const int most = SUMS / n > 1 ? SUMS / n : 1, side = groups < most ? groups : most;
  v128_t acc[STREAMS][PANEL];
  const uint8_t *at[STREAMS];
  EACH(g, groups) at[g] = w[g];
  EACH(g, groups) EACH(j, n) acc[g][j] = wasm_f32x4_const_splat(0);
  for (int b = 0; b < blocks; b++, x++)
    UNROLL for (int g = 0; g < groups; g += side) {
      block_of(form, side, n, at + g, x, acc + g);
      EACH(k, side) at[g + k] += layout_bytes[form];
    }
  EACH(g, groups) EACH(j, n) out[g][j] = form == LAYOUT_Q8 ? wasm_f32x4_mul(acc[g][j], wasm_f32x4_const_splat(1 / 256.f)) : acc[g][j];
}
