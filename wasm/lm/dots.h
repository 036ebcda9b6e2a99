// The functions that dots.c and float_dots.c make, one for each layout and number of rows.
#pragma once
#include "layouts.h"

// Quantised: out[j], lane r = row r of the group at `w` times row j of the panels at `x`.
typedef void dot_function(const uint8_t *w, const panel_block *x, int blocks, v128_t *out);
enum { ONE_ROW, FOUR_ROWS, EIGHT_ROWS, WIDTHS };
extern dot_function *const dots[LAYOUT_COUNT][WIDTHS];

// Plain numbers: out[4 * j + r] = row r of `w` (up to four, `stride` bytes apart) times row j of x, f32, `in` numbers each.
typedef void float_dot_function(const uint8_t *w, size_t stride, const float *x, int in, float *out);
extern float_dot_function *const float_dots[LAYOUT_Q4][2];  // 1 and 4 rows of x
