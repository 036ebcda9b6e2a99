// Matrix products: rows times the transpose of a weight. Threads split the groups of four output rows. A thread walks its share from four
// places at once; a group's weights are read from memory once and meet all rows while they are in cache.
#include "dots.h"
#include "math.h"

typedef struct {
  const uint8_t *x;
  int n, out, in;
} rows_in;

// Where a thread's share of outputs is read at one step: the first output of each of four groups. The last `STREAMS - count` only repeat one.
typedef struct {
  int count, at[STREAMS];
} step;

static int bad_shape(const rows_in *x, const weight *w) {
  return x->n < 0 || x->out <= 0 || x->in <= 0 || w->layout >= LAYOUT_COUNT || (is_quantized(w->layout) && x->in % BLOCK);
}

// Answers the number of steps for outputs begin … end - 1.
static int steps(int begin, int end) { return (end - begin + STREAMS * GROUP - 1) / (STREAMS * GROUP); }

static step step_at(int i, int begin, int end) {
  step s = {0};
  for (int g = 0; g < STREAMS; g++) {
    int at = begin + (i + g * steps(begin, end)) * GROUP;
    s.count += at < end;
    s.at[g] = at < end ? at : s.at[0];
  }
  return s;
}

enum { FEW = 8 };  // up to so many rows unpack weights for themselves

static int quantized_products(const weight *w, const rows_in *x, const step *s, int row, tile to) {
  int blocks = x->in / BLOCK, left = x->n - row;
  const uint8_t *at[STREAMS];
  for (int g = 0; g < STREAMS; g++) at[g] = w->at + (size_t)(s->at[g] / GROUP) * blocks * layout_bytes[w->layout];
  const panel_block *from = (const panel_block *)x->x + (size_t)(row / PANEL) * blocks;
  if (left > FEW && many_dots[w->layout]) {
    left = left < TILE_ROWS ? left : TILE_ROWS;
    many_dots[w->layout](at, from, (left + PANEL - 1) / PANEL, blocks, to);
    return left;
  }
  dots[w->layout][left > 1](at, from, blocks, to);
  return left < PANEL ? left : PANEL;
}

// A group with fewer than four rows is taken row by row: nothing behind the weights is read.
static void last_group(const weight *w, const uint8_t *at, size_t stride, int rows, const float *from, int in, int four, v128_t *to) {
  for (int r = 0; r < rows; r++) {
    v128_t one[4];
    float_dots[w->layout][four](at + r * stride, 0, from, in, one);
    for (int j = 0; j <= 3 * four; j++) ((float *)to)[4 * j + r] = wasm_f32x4_extract_lane(one[j], 0);
  }
}

static int float_products(const weight *w, const rows_in *x, const step *s, int row, tile to) {
  int four = x->n - row >= 4;
  size_t stride = (size_t)x->in * layout_bytes[w->layout];
  const float *from = (const float *)x->x + (size_t)row * x->in;
  for (int g = 0; g < s->count; g++) {
    const uint8_t *at = w->at + s->at[g] * stride;
    int rows = x->out - s->at[g];
    if (rows < GROUP) last_group(w, at, stride, rows, from, x->in, four, to[g]);
    else float_dots[w->layout][four](at, stride, from, x->in, to[g]);
  }
  return four ? 4 : 1;
}

// The outputs of a step for rows row, row + 1, … ; answers how many rows (up to 128).
static inline int products(const weight *w, const rows_in *x, const step *s, int row, tile to) {
  return (is_quantized(w->layout) ? quantized_products : float_products)(w, x, s, row, to);
}

// For each step of a thread's share, for each tile of rows: `make` sets `count`, then `each` handles group g (first output `at`), row j of it.
#define EACH_TILE(make, each)                                             \
  int begin, end;                                                         \
  share(a->out, GROUP, thread, threads, &begin, &end);                    \
  for (int i = 0; i < steps(begin, end); i++) {                           \
    step s = step_at(i, begin, end);                                      \
    for (int row = 0, count; row < a->n; row += count) {                  \
      make;                                                               \
      for (int g = 0; g < s.count; g++)                                   \
        for (int j = 0, at = s.at[g]; j < count; j++) each;               \
    }                                                                     \
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
  tile v;
  EACH_TILE(count = products(&a->w, &x, &s, row, v), finish(a, at, row + j, v[g][j]))
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

static void finish_gated(const gated_args *a, int group, int row, v128_t gate, v128_t up) {
  store_some(a->y + (size_t)row * a->out + group, wasm_f32x4_mul(activate(gate, a->act), up), a->out - group);
}

// act(x gate') * (x up')
OP(gated) {
  rows_in x = {a->x + (size_t)thread * a->stride, a->n, a->out, a->in};
  if (bad_shape(&x, &a->gate) || bad_shape(&x, &a->up) || a->act > ACT_RELU) return INVALID_PARAMS;
  if (is_quantized(a->gate.layout) != is_quantized(a->up.layout)) return INVALID_PARAMS;
  tile gate, up;
  EACH_TILE((products(&a->gate, &x, &s, row, gate), count = products(&a->up, &x, &s, row, up)), finish_gated(a, at, row + j, gate[g][j], up[g][j]))
  return OK;
}
