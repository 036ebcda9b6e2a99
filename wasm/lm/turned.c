// Quantised rows times a weight as it is, y = x w: the gradient of a product. The sum runs down the columns of w, so a piece of w (32 columns of
// 256 rows) is expanded and quantised anew, column by column, and then met by all rows of x. Threads split columns.
//
// New weights have 7 bits and one scale for 32 rows of a column: i32x4.relaxed_dot is exact with them on every machine (one instruction where
// there is AVX-VNNI or SDOT, else as fast as f32), and with int8 rows the answer is about 1.5 % off; 8-bit weights with 16-bit rows would be
// 0.5 % off and no faster than f32. They are kept unsigned, plus 64; that times the sum of their activations is taken off at the end.
#include "dot.h"
#include "expand.h"

enum { DEPTH = 8, GROUPS = BLOCK / GROUP, SIDE = SUMS / PANEL };  // blocks of a piece, groups of columns, and those that are met at once
enum { STEPS = BLOCK / 4, LARGEST = 63, CENTRE = 64, CACHE_LINE = 64 };

// Four columns of 32 rows. bits[k]: byte 4 c + j holds row 4 k + j of column c.
typedef struct {
  float scale[GROUP];
  uint8_t bits[STEPS][16];
} turned_block;

typedef turned_block piece[GROUPS][DEPTH];

// Largest magnitudes of four columns. Bits of positive floats compare as integers.
INLINE v128_t largest(const expansion *rows, int column) {
  v128_t most = wasm_f32x4_const_splat(0);
  UNROLL for (int k = 0; k < STEPS; k++)
    UNROLL for (int r = 0; r < GROUP; r++) most = wasm_i32x4_max(most, wasm_f32x4_abs(rows[k][r][column]));
  return most;
}

// To the nearest integer, ties to even, plus 64: adding 1.5 * 2^23 leaves no bits for a fraction. What is above the lowest byte is the same in
// every number, so it leaves the four that share a word by one addition.
INLINE void turn_columns(const expansion *rows, int column, turned_block *to) {
  const uint32_t above = 0x4b400000;  // 1.5 * 2^23
  v128_t most = largest(rows, column), zero = wasm_f32x4_lt(most, wasm_f32x4_const_splat(0x1p-100f));
  v128_t inverse = wasm_v128_andnot(wasm_f32x4_div(wasm_f32x4_const_splat(LARGEST), most), zero);
  wasm_v128_store(to->scale, wasm_v128_andnot(wasm_f32x4_div(most, wasm_f32x4_const_splat(LARGEST)), zero));
  UNROLL for (int k = 0; k < STEPS; k++) {
    v128_t word = wasm_i32x4_const_splat((int32_t)-(above + (above << 8) + (above << 16) + (above << 24)));
    UNROLL for (int j = 0; j < 4; j++) {
      v128_t q = wasm_f32x4_add(wasm_f32x4_mul(rows[k][j][column], inverse), wasm_f32x4_const_splat(0x1.8p23f + CENTRE));
      word = wasm_i32x4_add(word, wasm_i32x4_shl(q, 8 * j));
    }
    wasm_v128_store(to->bits[k], word);
  }
}

static void turn(const matrix *w, int row, int blocks, int column, piece to) {
  expansion rows[STEPS];
  for (int b = 0; b < blocks; b++, row += BLOCK) {
    for (int k = 0; k < STEPS; k++) expand(w, row + GROUP * k, column, rows[k]);
    for (int g = 0; g < GROUPS; g++) turn_columns(rows, g, &to[g][b]);
  }
}

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

typedef struct {
  const uint8_t *x;       // n x out: quantised rows
  weight w;               // out x in
  const float *residual;  // n x in, or 0; may be y
  float *y;               // n x in
  int32_t n, out, in, stride;
} matmul_t_int8_args;

// y = before + acc for rows row … row + 3 of the columns from `column` on; `before` may be 0.
static void store_sums(const matmul_t_int8_args *a, v128_t acc[SIDE][PANEL], int row, int column, const float *before) {
  for (int j = 0; j < PANEL && row + j < a->n; j++)
    for (int g = 0, c = column; g < SIDE; g++, c += GROUP) {
      size_t at = (size_t)(row + j) * a->in + c;
      store_some(a->y + at, before ? wasm_f32x4_add(acc[g][j], load_some(before + at, a->in - c)) : acc[g][j], a->in - c);
    }
}

static void add_rows(const matmul_t_int8_args *a, const panel_block *x, int blocks, piece w, int row, int column, const float *before) {
  for (int g = 0; g < GROUPS; g += SIDE) {
    const turned_block *at[SIDE];
    v128_t acc[SIDE][PANEL] = {0};
    for (int b = 0; b < blocks; b++) {
      EACH(i, SIDE) at[i] = &w[g + i][b];
      add_block(at, x + b, acc);
    }
    store_sums(a, acc, row, column + GROUP * g, before);
  }
}

// All rows with the piece at block b and `column`, while the one that comes next is fetched, some of it beside each panel.
static void add_piece(const matmul_t_int8_args *a, const panel_block *x, piece turned, int b, int blocks, int column, int end) {
  matrix w = {a->w, a->out, a->in};
  int all = a->out / BLOCK, next = (b + blocks) % all, next_column = next ? column : column + BLOCK, fetched = 0;
  for (int row = 0; row < a->n; row += PANEL) {
    int due = DEPTH * GROUPS * (row + PANEL) / a->n;
    if (next_column < end) fetch(&w, next * BLOCK, next_column, fetched, due);
    fetched = due;
    add_rows(a, x + (size_t)(row / PANEL) * all + b, blocks, turned, row, column, b ? a->y : a->residual);
  }
}

// y = x w + residual
OP(matmul_t_int8) {
  matrix w = {a->w, a->out, a->in};
  if (a->n < 0 || !is_matrix(&w) || a->out % BLOCK) return INVALID_PARAMS;
  const panel_block *x = (const panel_block *)(a->x + (size_t)thread * a->stride);
  int column, end, all = a->out / BLOCK;
  piece turned;
  share(a->in, BLOCK, thread, threads, &column, &end);
  for (; column < end; column += BLOCK)
    for (int b = 0; b < all; b += DEPTH) {
      int blocks = all - b < DEPTH ? all - b : DEPTH;
      turn(&w, b * BLOCK, blocks, column, turned);
      add_piece(a, x, turned, b, blocks, column, end);
    }
  return OK;
}
