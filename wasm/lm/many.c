// Weights of 4 to 6 bits with many rows: a piece of four groups of output rows is unpacked once, then met by all rows, four at a time. The sums are
// those of dot.h in the same order, so a row gives the same bits here as alone. Relaxed SIMD only: elsewhere unpacking is not what takes the time,
// and 8-bit weights have little to unpack.
#include "dot.h"

#ifdef __wasm_relaxed_simd__

enum { DEPTH = 16, SIDE = SUMS / PANEL };  // blocks of a piece, groups that are met at once

typedef open_block piece[STREAMS][DEPTH];

INLINE void open_one(const int form, const uint8_t *w, open_block *to) {
  UNROLL for (int k = 0; k < 8; k++) wasm_v128_store(to->bits[k], unpacked(w, form, k % 4, k / 4));
  UNROLL for (int half = 0; half < 2; half++) wasm_v128_store(to->scale[half], scale_of(w, form, half));
  if (has_least(form)) wasm_v128_store(to->least, least_of(w, form));
}

// Rows row … row + 3 with `count` blocks of all groups.
INLINE void meet_panel(const int form, piece open, int count, const panel_block *x, int is_first, tile out, int row) {
  for (int g = 0; g < STREAMS; g += SIDE) {
    const uint8_t *w[SIDE];
    v128_t acc[SIDE][PANEL];
    EACH(i, SIDE) EACH(j, PANEL) acc[i][j] = is_first ? wasm_f32x4_const_splat(0) : out[g + i][row + j];
    for (int b = 0; b < count; b++) {
      EACH(i, SIDE) w[i] = (const uint8_t *)&open[g + i][b];
      block_of_bytes(form, 1, SIDE, PANEL, w, x + b, acc);
    }
    EACH(i, SIDE) EACH(j, PANEL) out[g + i][row + j] = acc[i][j];
  }
}

INLINE void many(const int form, const uint8_t *const *w, const panel_block *x, int panels, int blocks, tile out) {
  piece open;
  for (int b = 0, count; b < blocks; b += count) {
    count = blocks - b < DEPTH ? blocks - b : DEPTH;
    for (int g = 0; g < STREAMS; g++)
      for (int i = 0; i < count; i++) open_one(form, w[g] + (size_t)(b + i) * layout_bytes[form], &open[g][i]);
    for (int p = 0; p < panels; p++) meet_panel(form, open, count, x + (size_t)p * blocks + b, b == 0, out, PANEL * p);
  }
}

#define MANY(form, name) \
  static void name(const uint8_t *const *w, const panel_block *x, int panels, int blocks, tile out) { many(form, w, x, panels, blocks, out); }
MANY(LAYOUT_Q4, q4)
MANY(LAYOUT_Q4M, q4m)
MANY(LAYOUT_Q5M, q5m)
MANY(LAYOUT_Q6, q6)

many_dots_function *const many_dots[LAYOUT_COUNT] = {[LAYOUT_Q4] = q4, [LAYOUT_Q4M] = q4m, [LAYOUT_Q5M] = q5m, [LAYOUT_Q6] = q6};

#else

many_dots_function *const many_dots[LAYOUT_COUNT] = {0};

#endif
