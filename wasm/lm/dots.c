// Every quantised layout with 1, 4 and 8 rows. Sixteen vector registers hold the sums of eight rows; plain SIMD needs two vectors for each.
#include "dot.h"
#include "dots.h"

#define DOT(form, name, n) \
  static void name##_##n(const uint8_t *w, const panel_block *x, int blocks, v128_t *out) { dot_group(form, n, w, x, blocks, out); }
#define TWICE(name)                                                                                  \
  static void name##_8(const uint8_t *w, const panel_block *x, int blocks, v128_t *out) {            \
    name##_4(w, x, blocks, out), name##_4(w, x + blocks, blocks, out + 4);                           \
  }
#ifdef __wasm_relaxed_simd__
#define EIGHT(form, name) DOT(form, name, 8)
#else
#define EIGHT(form, name) TWICE(name)
#endif

DOT(LAYOUT_Q4, q4, 1) DOT(LAYOUT_Q4, q4, 4) EIGHT(LAYOUT_Q4, q4)
DOT(LAYOUT_Q4M, q4m, 1) DOT(LAYOUT_Q4M, q4m, 4) EIGHT(LAYOUT_Q4M, q4m)
DOT(LAYOUT_Q5M, q5m, 1) DOT(LAYOUT_Q5M, q5m, 4) EIGHT(LAYOUT_Q5M, q5m)
DOT(LAYOUT_Q6, q6, 1) DOT(LAYOUT_Q6, q6, 4) EIGHT(LAYOUT_Q6, q6)
DOT(LAYOUT_Q8, q8, 1) DOT(LAYOUT_Q8, q8, 4) DOT(LAYOUT_Q8, q8, 8)

#define ROW(form, name) [form] = {name##_1, name##_4, name##_8}
dot_function *const dots[LAYOUT_COUNT][WIDTHS] = {
    ROW(LAYOUT_Q4, q4), ROW(LAYOUT_Q4M, q4m), ROW(LAYOUT_Q5M, q5m), ROW(LAYOUT_Q6, q6), ROW(LAYOUT_Q8, q8),
};
