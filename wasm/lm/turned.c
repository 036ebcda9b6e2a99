// Quantised rows times a weight of 7 bits: y = x w', or y = x w, the gradient of a product, whose sum runs down the columns of w. A piece of w (32
// columns of y, 256 deep) is expanded and quantised anew, and then met by all rows of x. Threads split columns of y.
//
// New weights have 7 bits and one scale for 32 numbers of a sum: i32x4.relaxed_dot is exact with them on every machine (one instruction where
// there is AVX-VNNI or SDOT, else as fast as f32), and with int8 rows the answer is about 1.5 % off; 8-bit weights with 16-bit rows would be
// 0.5 % off and no faster than f32. They are kept unsigned, plus 64; that times the sum of their activations is taken off at the end.
#include "dot.h"
#include "expand.h"

enum { DEPTH = 8, GROUPS = BLOCK / GROUP, SIDE = SUMS / PANEL };  // blocks of a piece, groups of columns, and those that are met at once
enum { STEPS = BLOCK / 4, LARGEST = 63, CENTRE = 64, CACHE_LINE = 64 };

// 32 numbers of a sum, of four columns of y. bits[k]: byte 4 c + j holds number 4 k + j of column c.
typedef struct {
  float scale[GROUP];
  uint8_t bits[STEPS][16];
} turned_block;

typedef turned_block piece[GROUPS][DEPTH];

// Number 4 k + j of four columns' sums: of[(4 k + j) * apart]
typedef struct {
  const v128_t *of;
  int apart;
} numbers_of;

INLINE v128_t number(numbers_of n, int k, int j) { return n.of[(4 * k + j) * n.apart]; }

// Largest magnitudes. Bits of positive floats compare as integers.
INLINE v128_t largest(numbers_of n) {
  v128_t most = wasm_f32x4_const_splat(0);
  UNROLL for (int k = 0; k < STEPS; k++)
    UNROLL for (int j = 0; j < 4; j++) most = wasm_i32x4_max(most, wasm_f32x4_abs(number(n, k, j)));
  return most;
}

// To the nearest integer, ties to even, plus 64: adding 1.5 * 2^23 leaves no bits for a fraction. What is above the lowest byte is the same in
// every number, so it leaves the four that share a word by one addition.
INLINE void turn_block(numbers_of n, turned_block *to) {
  const uint32_t above = 0x4b400000;  // 1.5 * 2^23
  v128_t most = largest(n), zero = wasm_f32x4_lt(most, wasm_f32x4_const_splat(0x1p-100f));
  v128_t inverse = wasm_v128_andnot(wasm_f32x4_div(wasm_f32x4_const_splat(LARGEST), most), zero);
  wasm_v128_store(to->scale, wasm_v128_andnot(wasm_f32x4_div(most, wasm_f32x4_const_splat(LARGEST)), zero));
  UNROLL for (int k = 0; k < STEPS; k++) {
    v128_t word = wasm_i32x4_const_splat((int32_t)-(above + (above << 8) + (above << 16) + (above << 24)));
    UNROLL for (int j = 0; j < 4; j++) {
      v128_t q = wasm_f32x4_add(wasm_f32x4_mul(number(n, k, j), inverse), wasm_f32x4_const_splat(0x1.8p23f + CENTRE));
      word = wasm_i32x4_add(word, wasm_i32x4_shl(q, 8 * j));
    }
    wasm_v128_store(to->bits[k], word);
  }
}

static void turn_down(const matrix *w, int row, int column, piece to, int b) {
  expansion rows[STEPS];
  for (int k = 0; k < STEPS; k++) expand(w, row + GROUP * k, column, rows[k]);
  for (int g = 0; g < GROUPS; g++) turn_block((numbers_of){&rows[0][0][g], BLOCK / 4}, &to[g][b]);
}

static void turn_along(const matrix *w, int column, int row, piece to, int b) {
  expansion rows;
  for (int g = 0; g < GROUPS && row < w->rows; g++, row += GROUP) {
    v128_t turned[STEPS][4];
    expand(w, row, column, rows);
    for (int k = 0; k < STEPS; k++) {
      UNROLL for (int r = 0; r < GROUP; r++) turned[k][r] = rows[r][k];
      transpose(turned[k]);
    }
    turn_block((numbers_of){turned[0], 1}, &to[g][b]);
  }
}

// y (n, columns) = before + bias + x w
typedef struct {
  const uint8_t *x;     // quantised rows of 32 `blocks` numbers
  matrix w;
  int down;             // the sum runs down the columns of w, else along its rows
  const float *before;  // n x columns, or 0; may be y
  const float *bias;    // columns, or 0
  float *y;
  int n, columns, blocks;
} product7;

// Asks for groups first … last - 1 of a piece, all of their bytes: they lie far apart, and `turn` would wait for one after the other.
static void fetch(const matrix *w, int row, int column, int first, int last) {
  int size = layout_bytes[w->w.layout];
  for (int r = row + GROUP * first; first < last && r < w->rows && is_quantized(w->w.layout); first++, r += GROUP) {
    const volatile uint8_t *at = block_at(w, r, column);
    for (int i = 0; i < size; i += CACHE_LINE) (void)at[i];
    (void)at[size - 1];
  }
}

#ifdef __wasm_relaxed_simd__
typedef v128_t lanes;
INLINE void add_four(lanes *s, v128_t x, v128_t w) { *s = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(x, w, *s); }
INLINE v128_t total_of(lanes s) { return s; }
INLINE void settle_lanes(lanes *s) { settle(s); }
#else
typedef sum lanes;
INLINE void add_four(lanes *s, v128_t x, v128_t w) { add_products(s, x, w, LAYOUT_Q8); }  // which takes nothing from weights
INLINE v128_t total_of(lanes s) { return total(s); }
INLINE void settle_lanes(lanes *s) { settle_sum(s); }
#endif

// acc += a block of four rows times a block of each group of columns.
INLINE void add_block(const turned_block *const *w, const panel_block *x, v128_t acc[SIDE][PANEL]) {
  lanes s[SIDE][PANEL] = {0};
  v128_t v[SIDE];
  UNROLL for (int k = 0; k < STEPS; k++) {
    EACH(g, SIDE) v[g] = LOAD(w[g]->bits[k]);
    EACH(j, PANEL) {
      v128_t four = wasm_v128_load32_splat(&x->q8[j][4 * k]);
      EACH(g, SIDE) add_four(&s[g][j], four, v[g]);
    }
    EACH(j, PANEL) EACH(g, SIDE) settle_lanes(&s[g][j]);
  }
  EACH(j, PANEL) {
    v128_t centre = wasm_i32x4_shl(wasm_i32x4_extadd_pairwise_i16x8(wasm_v128_load32_splat(&x->meta[j].pair8)), 3);  // -8 times the sum, by 8
    EACH(g, SIDE) scaled(&acc[g][j], wasm_i32x4_add(total_of(s[g][j]), centre), x, j, LOAD(w[g]->scale));
  }
}

// What a piece adds to rows row … row + 3 of the columns from `column` on.
static void store_sums(const product7 *p, v128_t acc[SIDE][PANEL], int row, int column, int is_first) {
  const float *before = is_first ? p->before : p->y, *bias = is_first ? p->bias : 0;
  for (int j = 0; j < PANEL && row + j < p->n; j++)
    for (int g = 0, c = column; g < SIDE && c < p->columns; g++, c += GROUP) {
      size_t at = (size_t)(row + j) * p->columns + c;
      int left = p->columns - c;
      v128_t v = acc[g][j];
      if (before) v = wasm_f32x4_add(v, load_some(before + at, left));
      if (bias) v = wasm_f32x4_add(v, load_some(bias + c, left));
      store_some(p->y + at, v, left);
    }
}

static void add_rows(const product7 *p, piece w, int row, int column, int from, int count) {
  const panel_block *x = (const panel_block *)p->x + (size_t)(row / PANEL) * p->blocks + from;
  for (int g = 0; g < GROUPS; g += SIDE) {
    const turned_block *at[SIDE];
    v128_t acc[SIDE][PANEL] = {0};
    for (int b = 0; b < count; b++) {
      EACH(i, SIDE) at[i] = &w[g + i][b];
      add_block(at, x + b, acc);
    }
    store_sums(p, acc, row, column + GROUP * g, from == 0);
  }
}

// All rows with the piece at a column and block `from`, while the one that comes next is fetched, some of it beside each panel.
static void add_piece(const product7 *p, piece w, int column, int end, int from, int count) {
  int next = (from + count) % p->blocks, next_column = next ? column : column + BLOCK, fetched = 0;
  for (int row = 0; row < p->n; row += PANEL) {
    int due = DEPTH * GROUPS * (row + PANEL) / p->n;
    if (p->down && next_column < end) fetch(&p->w, next * BLOCK, next_column, fetched, due);
    fetched = due;
    add_rows(p, w, row, column, from, count);
  }
}

static void multiply7(const product7 *p, int column, int end) {
  piece turned;
  for (; column < end; column += BLOCK)
    for (int from = 0; from < p->blocks; from += DEPTH) {
      int count = p->blocks - from < DEPTH ? p->blocks - from : DEPTH;
      for (int b = 0; b < count; b++) (p->down ? turn_down : turn_along)(&p->w, (from + b) * BLOCK, column, turned, b);
      add_piece(p, turned, column, end, from, count);
    }
}

typedef struct {
  const uint8_t *x;       // n x out: quantised rows
  weight w;               // out x in
  const float *residual;  // n x in, or 0; may be y
  float *y;               // n x in
  int32_t n, out, in, stride;
} matmul_t_int8_args;

// y = x w + residual
OP(matmul_t_int8) {
  product7 p = {
      .x = a->x + (size_t)thread * a->stride, .w = {a->w, a->out, a->in}, .down = 1, .before = a->residual, .y = a->y,
      .n = a->n, .columns = a->in, .blocks = a->out / BLOCK,
  };
  int begin, end;
  if (a->n < 0 || !is_matrix(&p.w) || a->out % BLOCK) return INVALID_PARAMS;
  share(a->in, BLOCK, thread, threads, &begin, &end);
  multiply7(&p, begin, end);
  return OK;
}

typedef struct {
  const uint8_t *x;       // n x in: quantised rows
  weight w;               // out x in
  const float *bias;      // out, or 0
  const float *residual;  // n x out, or 0; may be y
  float *y;               // n x out
  int32_t n, out, in, stride;
} matmul_int8_args;

// y = x w' + bias + residual
OP(matmul_int8) {
  product7 p = {
      .x = a->x + (size_t)thread * a->stride, .w = {a->w, a->out, a->in}, .before = a->residual, .bias = a->bias, .y = a->y,
      .n = a->n, .columns = a->out, .blocks = a->in / BLOCK,
  };
  int begin, end;
  if (a->n < 0 || !is_matrix(&p.w) || a->in % BLOCK) return INVALID_PARAMS;
  share(a->out, BLOCK, thread, threads, &begin, &end);
  multiply7(&p, begin, end);
  return OK;
}
