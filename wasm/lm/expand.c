// Every layout as f32. A product of an f16 scale with an integer of up to 8 bits is exact, so builds agree to the bit whether they fuse or not.
#include "expand.h"
#include "dot.h"

// Columns 4 i … 4 i + 3 of four rows as signed bytes, row after row.
INLINE v128_t integers(const int form, const uint8_t *w, int i) {
  if (form != LAYOUT_Q8) return wasm_i8x16_sub(unpacked(w, form, i % 4, i / 4), wasm_i8x16_splat((int8_t)(form == LAYOUT_Q5M ? 0 : centre_of(form))));
  v128_t pairs = LOAD(((const q8_block *)w)->bits + 16 * i);
  return wasm_i16x8_shuffle(pairs, pairs, 0, 4, 1, 5, 2, 6, 3, 7);
}

INLINE void block(const int form, const uint8_t *w, expansion out) {
  v128_t least = has_least(form) ? half4(((const q4m_block *)w)->least) : wasm_f32x4_const_splat(0);
  UNROLL for (int i = 0; i < BLOCK / 4; i++) {
    v128_t scale = scale_of(w, form, i / 4), bytes = integers(form, w, i);
    v128_t two[2] = {wasm_i16x8_extend_low_i8x16(bytes), wasm_i16x8_extend_high_i8x16(bytes)};
    UNROLL for (int r = 0; r < GROUP; r++) {
      v128_t four = r % 2 ? wasm_i32x4_extend_high_i16x8(two[r / 2]) : wasm_i32x4_extend_low_i16x8(two[r / 2]);
      v128_t v = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(four), lane(scale, r));
      out[r][i] = has_least(form) ? wasm_f32x4_add(v, lane(least, r)) : v;
    }
  }
}

INLINE void plain(const int form, const matrix *m, int row, int column, expansion out) {
  for (int r = 0; r < GROUP; r++) {
    int left = row + r < m->rows ? m->columns - column : 0;
    const uint8_t *at = m->w.at + ((size_t)(row + r) * m->columns + column) * layout_bytes[form];
    for (int i = 0; i < BLOCK / 4; i++) out[r][i] = numbers(form, at, 4 * i, left - 4 * i);
  }
}

void expand(const matrix *m, int row, int column, expansion out) {
  const uint8_t *at = block_at(m, row, column);
  switch (m->w.layout) {
#define PLAIN(form) case form: plain(form, m, row, column, out); break;
#define PACKED(form) case form: block(form, at, out); break;
    PLAIN(LAYOUT_F32) PLAIN(LAYOUT_F16) PLAIN(LAYOUT_BF16)
    PACKED(LAYOUT_Q4) PACKED(LAYOUT_Q4M) PACKED(LAYOUT_Q5M) PACKED(LAYOUT_Q6) PACKED(LAYOUT_Q8)
  }
}
