// Weights as f32, four rows of 32 columns at a time, for kernels that need them as they are or turned.
#pragma once
#include "layouts.h"

typedef struct {
  weight w;
  int rows, columns;
} matrix;

typedef v128_t expansion[GROUP][BLOCK / 4];  // [row][columns 4 i … 4 i + 3]

// The block of quantised weights that begins at a row and a column.
INLINE const uint8_t *block_at(const matrix *m, int row, int column) {
  return m->w.at + ((size_t)(row / GROUP) * (m->columns / BLOCK) + column / BLOCK) * layout_bytes[m->w.layout];
}

// Rows row … row + 3 (a multiple of 4) of columns column … column + 31 (a multiple of 32). What lies beyond plain numbers is 0.
void expand(const matrix *m, int row, int column, expansion out);

INLINE int is_matrix(const matrix *m) {
  return m->rows > 0 && m->columns > 0 && m->w.layout < LAYOUT_COUNT && !(is_quantized(m->w.layout) && m->columns % BLOCK);
}

// Lane i in all lanes; i is a constant where this is used.
INLINE v128_t lane(v128_t v, int i) {
  switch (i) {
    case 0: return wasm_i32x4_shuffle(v, v, 0, 0, 0, 0);
    case 1: return wasm_i32x4_shuffle(v, v, 1, 1, 1, 1);
    case 2: return wasm_i32x4_shuffle(v, v, 2, 2, 2, 2);
    default: return wasm_i32x4_shuffle(v, v, 3, 3, 3, 3);
  }
}

// Four vectors as the rows of a square, turned into its columns.
INLINE void transpose(v128_t v[4]) {
  v128_t a = wasm_i32x4_shuffle(v[0], v[1], 0, 4, 1, 5), b = wasm_i32x4_shuffle(v[2], v[3], 0, 4, 1, 5);
  v128_t c = wasm_i32x4_shuffle(v[0], v[1], 2, 6, 3, 7), d = wasm_i32x4_shuffle(v[2], v[3], 2, 6, 3, 7);
  v[0] = wasm_i32x4_shuffle(a, b, 0, 1, 4, 5), v[1] = wasm_i32x4_shuffle(a, b, 2, 3, 6, 7);
  v[2] = wasm_i32x4_shuffle(c, d, 0, 1, 4, 5), v[3] = wasm_i32x4_shuffle(c, d, 2, 3, 6, 7);
}
