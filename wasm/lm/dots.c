// Every quantised layout with 1, 4 and 8 rows. Where weights are dear to unpack, eight rows share them: a group's sums stay in registers, so groups
// come one after the other. Plain SIMD needs two registers for a sum, and takes four rows twice. So do 4-bit weights and 8-bit ones.
#include "dot.h"

#define FUNCTION(name, n) static void name##_##n(const uint8_t *const *w, const panel_block *x, int blocks, tile out)
#define BY_FOUR(form, name, n) FUNCTION(name, n) { dot_groups(form, STREAMS, n, w, x, blocks, out); }
#define ONE_BY_ONE(form, name) FUNCTION(name, 8) { for (int g = 0; g < STREAMS; g++) dot_groups(form, 1, 8, w + g, x, blocks, out + g); }
#define TWICE_FOUR(name)                                                                              \
  FUNCTION(name, 8) {                                                                                 \
    tile second;                                                                                      \
    name##_4(w, x, blocks, out), name##_4(w, x + blocks, blocks, second);                             \
    for (int g = 0; g < STREAMS; g++) for (int j = 0; j < 4; j++) out[g][4 + j] = second[g][j];       \
  }
#ifdef __wasm_relaxed_simd__
#define EIGHT(form, name) ONE_BY_ONE(form, name)
#else
#define EIGHT(form, name) TWICE_FOUR(name)
#endif

#define FEW(form, name) BY_FOUR(form, name, 1) BY_FOUR(form, name, 4)
FEW(LAYOUT_Q4, q4) TWICE_FOUR(q4)
FEW(LAYOUT_Q4M, q4m) TWICE_FOUR(q4m)
FEW(LAYOUT_Q5M, q5m) EIGHT(LAYOUT_Q5M, q5m)
FEW(LAYOUT_Q6, q6) EIGHT(LAYOUT_Q6, q6)
FEW(LAYOUT_Q8, q8) TWICE_FOUR(q8)

#define ROW(form, name) [form] = {name##_1, name##_4, name##_8}
dot_function *const dots[LAYOUT_COUNT][WIDTHS] = {
    ROW(LAYOUT_Q4, q4), ROW(LAYOUT_Q4M, q4m), ROW(LAYOUT_Q5M, q5m), ROW(LAYOUT_Q6, q6), ROW(LAYOUT_Q8, q8),
};
