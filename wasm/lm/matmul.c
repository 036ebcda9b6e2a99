// Matrix products: rows times the transpose of a weight. Threads split the groups of four output rows; a group's weights are read from memory
// once and meet all rows while they are in cache.
#include "dots.h"
#include "math.h"

typedef struct {
  const uint8_t *x;
  int n, out, in;
} rows_in;

static int bad_shape(const rows_in *x, const weight *w) {
  return x->n < 0 || x->out <= 0 || x->in <= 0 || w->layout >= LAYOUT_COUNT || (is_quantized(w->layout) && x->in % BLOCK);
}

static int quantized_products(const weight *w, const rows_in *x, int group, int row, v128_t *to) {
  int blocks = x->in / BLOCK, left = x->n - row, width = left > 4 ? EIGHT_ROWS : left > 1 ? FOUR_ROWS : ONE_ROW;
  const uint8_t *at = w->at + (size_t)(group / GROUP) * blocks * layout_bytes[w->layout];
  dots[w->layout][width](at, (const panel_block *)x->x + (size_t)(row / PANEL) * blocks, blocks, to);
  return left < 8 ? left : 8;
}

// A group with fewer than four rows left gets its last row again for the others: nothing behind the weights is read.
static int float_products(const weight *w, const rows_in *x, int group, int row, v128_t *to) {
  int four = x->n - row >= 4, rows = x->out - group;
  size_t stride = (size_t)x->in * layout_bytes[w->layout];
  const uint8_t *at = w->at + group * stride;
  const float *from = (const float *)x->x + (size_t)row * x->in;
  if (rows >= 4) {
    float_dots[w->layout][four](at, stride, from, x->in, (float *)to);
    return four ? 4 : 1;
  }
  for (int r = 0; r < rows; r++) {
    v128_t one[4];
    float_dots[w->layout][four](at + r * stride, 0, from, x->in, (float *)one);
    for (int j = 0; j <= 3 * four; j++) ((float *)to)[4 * j + r] = ((float *)one)[4 * j];
  }
  return four ? 4 : 1;
}

// Outputs group … group + 3 of rows row, row + 1, … into `to`; answers how many rows (up to 8).
static inline int products(const weight *w, const rows_in *x, int group, int row, v128_t *to) {
  return (is_quantized(w->layout) ? quantized_products : float_products)(w, x, group, row, to);
}

typedef struct {
  const uint8_t *x;       // n x in: f32, or quantised rows
  weight w;               // out x in
  const float *bias;      // out, or 0
  const float *residual;  // n x out, or 0; may be y
  float *y;               // n x out
  int32_t n, out, in;
  uint32_t act;
  int32_t stride;
} matmul_args;

static void finish(const matmul_args *a, int group, int row, v128_t v) {
  int left = a->out - group;
  size_t at = (size_t)row * a->out + group;
  if (a->bias) v = wasm_f32x4_add(v, load_some(a->bias + group, left));
  v = activate(v, a->act);
  if (a->residual) v = wasm_f32x4_add(v, load_some(a->residual + at, left));
  store_some(a->y + at, v, left);
}

OP(matmul) {
  rows_in x = {a->x + (size_t)thread * a->stride, a->n, a->out, a->in};
  if (bad_shape(&x, &a->w) || a->act > ACT_RELU) return INVALID_PARAMS;
  int begin, end;
  share(a->out, GROUP, thread, threads, &begin, &end);
  for (int group = begin; group < end; group += GROUP)
    for (int row = 0, count; row < a->n; row += count) {
      v128_t v[8];
      count = products(&a->w, &x, group, row, v);
      for (int j = 0; j < count; j++) finish(a, group, row + j, v[j]);
    }
  return OK;
}

typedef struct {
  const uint8_t *x;  // n x in: f32, or quantised rows
  weight gate, up;   // out x in
  float *y;          // n x out
  int32_t n, out, in;
  uint32_t act;
  int32_t stride;
} gated_args;

// act(x gate') * (x up')
OP(gated) {
  rows_in x = {a->x + (size_t)thread * a->stride, a->n, a->out, a->in};
  if (bad_shape(&x, &a->gate) || bad_shape(&x, &a->up) || a->act > ACT_RELU) return INVALID_PARAMS;
  if (is_quantized(a->gate.layout) != is_quantized(a->up.layout)) return INVALID_PARAMS;
  int begin, end;
  share(a->out, GROUP, thread, threads, &begin, &end);
  for (int group = begin; group < end; group += GROUP)
    for (int row = 0, count; row < a->n; row += count) {
      v128_t gate[8], up[8];
      products(&a->gate, &x, group, row, gate);
      count = products(&a->up, &x, group, row, up);
      for (int j = 0; j < count; j++) {
        v128_t v = wasm_f32x4_mul(activate(gate[j], a->act), up[j]);
        store_some(a->y + (size_t)(row + j) * a->out + group, v, a->out - group);
      }
    }
  return OK;
}
