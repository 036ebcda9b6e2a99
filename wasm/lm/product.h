// Products in f32 of rows with a matrix of any layout, which is expanded piece by piece.
#pragma once
#include "expand.h"

enum { STRIP = 12 };  // columns that are multiplied side by side

// y (rows, columns) = act(factor * x w + bias) + residual, sums over `depth`. `down`: the sum runs down the rows of that matrix, else along them.
typedef struct {
  const float *x;         // (rows, depth), or down: (depth, rows)
  matrix w;               // (columns, depth), or down: (depth, columns)
  int x_down, w_down;
  const float *bias;      // columns, or 0
  const float *residual;  // rows x columns, or 0; may be y
  float *y;
  int rows, columns, depth;
  float factor;
  uint32_t act;
} product;

// A part of y: rows row … row_end - 1 of columns column … column_end - 1. `column` is a multiple of 4, where w is down of 32. An element's sum
// is one chain of `madd` in order, whatever part it lies in.
void multiply(const product *p, int row, int row_end, int column, int column_end);
