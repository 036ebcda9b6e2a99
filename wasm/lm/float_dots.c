// Weights that are plain numbers, row after row as in the file. A sum has four lanes, each taking every fourth column in order, whatever the
// tile: four rows of weights with one row of x, or twice two with four.
#include "dots.h"

INLINE void add_products(const int form, const int rows, const int n, const uint8_t *w, size_t stride, const float *x, int in, int i, int left,
                     v128_t acc[rows][n]) {
  v128_t v[4];
  UNROLL for (int r = 0; r < rows; r++) v[r] = numbers(form, w + r * stride, i, left);
  UNROLL for (int j = 0; j < n; j++) {
    v128_t u = load_some(x + (size_t)j * in + i, left);
    UNROLL for (int r = 0; r < rows; r++) acc[r][j] = madd(v[r], u, acc[r][j]);
  }
}

INLINE void product(const int form, const int rows, const int n, const uint8_t *w, size_t stride, const float *x, int in, float *out) {
  v128_t acc[rows][n];
  UNROLL for (int r = 0; r < rows; r++) UNROLL for (int j = 0; j < n; j++) acc[r][j] = wasm_f32x4_const_splat(0);
  int i = 0;
  for (; i + 4 <= in; i += 4) add_products(form, rows, n, w, stride, x, in, i, 4, acc);
  if (i < in) add_products(form, rows, n, w, stride, x, in, i, in - i, acc);
  UNROLL for (int r = 0; r < rows; r++) UNROLL for (int j = 0; j < n; j++) out[4 * j + r] = hsum(acc[r][j]);
}

#define FUNCTION(name, n) static void name##_##n(const uint8_t *w, size_t stride, const float *x, int in, v128_t *out)
#define FLOAT_DOTS(form, name)                                                            \
  FUNCTION(name, 1) { product(form, 4, 1, w, stride, x, in, (float *)out); }              \
  FUNCTION(name, 4) {                                                                     \
    product(form, 2, 4, w, stride, x, in, (float *)out);                                  \
    product(form, 2, 4, w + 2 * stride, stride, x, in, (float *)out + 2);                 \
  }

FLOAT_DOTS(LAYOUT_F32, f32) FLOAT_DOTS(LAYOUT_F16, f16) FLOAT_DOTS(LAYOUT_BF16, bf16)

float_dot_function *const float_dots[LAYOUT_Q4][2] = {{f32_1, f32_4}, {f16_1, f16_4}, {bf16_1, bf16_4}};
