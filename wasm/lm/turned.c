// Quantised rows times a weight as it is, y = x w: the gradient of a product. The sum runs down the columns of w, so a piece of w (32 columns of
// 256 rows) is expanded and quantised anew, column by column, and then met by all rows of x. Threads split columns.
//
// New weights have 7 bits and one scale for 32 rows of a column: i32x4.relaxed_dot is exact with them on every machine (one instruction where
// there is AVX-VNNI or SDOT, else as fast as f32), and with int8 rows the answer is about 1.5 % off; 8-bit weights with 16-bit rows would be
// 0.5 % off and no faster than f32. They are kept unsigned, plus 64; sums start at -64 times that of their activations.
#include "dot.h"
#include "expand.h"

enum { DEPTH = 8, GROUPS = BLOCK / GROUP, STEPS = BLOCK / 4, LARGEST = 63, CENTRE = 64, SIDE = 2 };  // DEPTH: blocks of a piece

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

// s + x w in each lane, four products.
INLINE v128_t add_four(v128_t s, v128_t x, v128_t w) {
#ifdef __wasm_relaxed_simd__
  return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(x, w, s);
#else
  v128_t four = wasm_i16x8_extend_low_i8x16(x);
  v128_t a = wasm_i32x4_dot_i16x8(four, wasm_i16x8_extend_low_i8x16(w)), b = wasm_i32x4_dot_i16x8(four, wasm_i16x8_extend_high_i8x16(w));
  return wasm_i32x4_add(s, wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 2, 4, 6), wasm_i32x4_shuffle(a, b, 1, 3, 5, 7)));
#endif
}

// acc += a block of four rows times one of two groups of columns.
INLINE void add_block(const turned_block *const *w, const panel_block *x, v128_t acc[SIDE][PANEL]) {
  v128_t s[SIDE][PANEL], v[SIDE];
  EACH(j, PANEL) {
    v128_t sum = wasm_i32x4_extadd_pairwise_i16x8(wasm_v128_load32_splat(&x->meta[j].pair8));  // times -8
    EACH(g, SIDE) s[g][j] = wasm_i32x4_shl(sum, 3);
  }
  UNROLL for (int k = 0; k < STEPS; k++) {
    EACH(g, SIDE) v[g] = LOAD(w[g]->bits[k]);
    EACH(j, PANEL) {
      v128_t four = wasm_v128_load32_splat(&x->q8[j][4 * k]);
      EACH(g, SIDE) s[g][j] = add_four(s[g][j], four, v[g]);
    }
  }
  EACH(g, SIDE) {
    v128_t scale = LOAD(w[g]->scale);
    EACH(j, PANEL) scaled(&acc[g][j], s[g][j], x, j, scale);
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
    const turned_block *at[SIDE] = {w[g], w[g + 1]};
    v128_t acc[SIDE][PANEL] = {0};
    for (int b = 0; b < blocks; b++, at[0]++, at[1]++) add_block(at, x + b, acc);
    store_sums(a, acc, row, column + GROUP * g, before);
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
      for (int row = 0; row < a->n; row += PANEL)
        add_rows(a, x + (size_t)(row / PANEL) * all + b, blocks, turned, row, column, b ? a->y : a->residual);
    }
  return OK;
}
