// The functions that dots.c and float_dots.c make, for each layout and number of rows. A tile is four groups of output rows, from four distant
// places of the weight, times up to eight rows.
#pragma once
#include "layouts.h"

#define STREAMS 4
#define WIDEST 8
typedef v128_t tile[STREAMS][WIDEST];  // [g][j], lane r: row r of group g times row j of x

// Quantised: groups at w[0 … 3], panels at x.
typedef void dot_function(const uint8_t *const *w, const panel_block *x, int blocks, tile out);
enum { ONE_ROW, FOUR_ROWS, EIGHT_ROWS, WIDTHS };
extern dot_function *const dots[LAYOUT_COUNT][WIDTHS];

// Plain numbers: out[j], lane r = row r of the four at `w`, `stride` bytes apart, times row j of x, f32, `in` numbers each.
typedef void float_dot_function(const uint8_t *w, size_t stride, const float *x, int in, v128_t *out);
extern float_dot_function *const float_dots[LAYOUT_Q4][2];  // 1 and 4 rows of x
