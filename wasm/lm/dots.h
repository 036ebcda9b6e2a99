// The functions that dots.c, many.c and float_dots.c make, for each layout and number of rows. A tile is four groups of output rows, from four
// distant places of the weight, times up to 128 rows.
#pragma once
#include "layouts.h"

#define STREAMS 4
#define TILE_ROWS 128
typedef v128_t tile[STREAMS][TILE_ROWS];  // [g][j], lane r: row r of group g times row j of x

// Quantised: groups at w[0 … 3], panels at x.
typedef void dot_function(const uint8_t *const *w, const panel_block *x, int blocks, tile out);
extern dot_function *const dots[LAYOUT_COUNT][2];  // 1 and 4 rows of x

// The same with all rows of `panels` panels, `blocks` apart. 0: they are as fast four by four.
typedef void many_dots_function(const uint8_t *const *w, const panel_block *x, int panels, int blocks, tile out);
extern many_dots_function *const many_dots[LAYOUT_COUNT];

// Plain numbers: out[j], lane r = row r of the four at `w`, `stride` bytes apart, times row j of x, f32, `in` numbers each.
typedef void float_dot_function(const uint8_t *w, size_t stride, const float *x, int in, v128_t *out);
extern float_dot_function *const float_dots[LAYOUT_Q4][2];  // 1 and 4 rows of x
