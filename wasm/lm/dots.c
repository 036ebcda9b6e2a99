// Every quantised layout with 1 and 4 rows.
#include "dot.h"

#define FUNCTION(name, n) \
  static void name##_##n(const uint8_t *const *w, const panel_block *x, int blocks, tile out)
#define DOTS(form, name)                                               \
  FUNCTION(name, 1) { dot_groups(form, STREAMS, 1, w, x, blocks, out); } \
  FUNCTION(name, 4) { dot_groups(form, STREAMS, 4, w, x, blocks, out); }
DOTS(LAYOUT_Q4, q4)
DOTS(LAYOUT_Q4M, q4m)
DOTS(LAYOUT_Q5M, q5m)
DOTS(LAYOUT_Q6, q6)
DOTS(LAYOUT_Q8, q8)

#define ROW(form, name) [form] = {name##_1, name##_4}
dot_function *const dots[LAYOUT_COUNT][2] = {
    ROW(LAYOUT_Q4, q4), ROW(LAYOUT_Q4M, q4m), ROW(LAYOUT_Q5M, q5m), ROW(LAYOUT_Q6, q6), ROW(LAYOUT_Q8, q8),
};
