// y = act(factor * x w + bias) + residual in f32. A piece of w (64 deep, 96 columns: 24 KiB, half of a usual first cache) is expanded and laid
// out strip by strip, then met by up to 128 rows of x; sums of those wait in 48 KiB more. Stack of a thread: 73 KiB.
#include "product.h"
#include "math.h"

enum { TILE_ROWS = 128, TILE_COLUMNS = 96, DEPTH = 64, ROWS = 4, VECTORS = STRIP / 4 };

typedef float panels[TILE_COLUMNS / STRIP][DEPTH][STRIP];
typedef float sums[TILE_ROWS][TILE_COLUMNS];

INLINE int at_most(int count, int limit) { return count < limit ? count : limit; }

// Where vector v of the columns of a piece lies at depth k.
INLINE float *place(panels to, int v, int k) { return &to[v / VECTORS][k][v % VECTORS * 4]; }

static void pack_down(const product *p, int k, int depth, int column, int columns, panels to) {
  expansion e;
  for (int r = 0; r < depth; r += GROUP)
    for (int c = 0; c < columns; c += BLOCK) {
      expand(&p->w, k + r, column + c, e);
      UNROLL for (int i = 0; i < BLOCK / 4; i++)
        UNROLL for (int g = 0; g < GROUP; g++) wasm_v128_store(place(to, c / 4 + i, r + g), e[g][i]);
    }
}

static void pack_along(const product *p, int k, int depth, int column, int columns, panels to) {
  expansion e;
  for (int c = 0; c < columns; c += GROUP)
    for (int r = 0; r < depth; r += BLOCK) {
      expand(&p->w, column + c, k + r, e);
      for (int i = 0; i < BLOCK / 4 && r + 4 * i < depth; i++) {
        v128_t v[4] = {e[0][i], e[1][i], e[2][i], e[3][i]};
        transpose(v);
        UNROLL for (int j = 0; j < 4; j++) wasm_v128_store(place(to, c / 4, r + 4 * i + j), v[j]);
      }
    }
}

// Sums of four rows and a strip: +=, at one depth; u[i] is the number of row i in all lanes. With the factors in this order wasmtime makes the
// fewest copies.
INLINE void add_step(const v128_t u[ROWS], const float *w, v128_t s[ROWS][VECTORS]) {
  v128_t v[VECTORS];
  UNROLL for (int j = 0; j < VECTORS; j++) v[j] = LOAD(w + 4 * j);
  UNROLL for (int i = 0; i < ROWS; i++) UNROLL for (int j = 0; j < VECTORS; j++) s[i][j] = madd(v[j], u[i], s[i][j]);
}

INLINE void load_sums(int first, float (*from)[TILE_COLUMNS], v128_t s[ROWS][VECTORS]) {
  UNROLL for (int i = 0; i < ROWS; i++)
    UNROLL for (int j = 0; j < VECTORS; j++) s[i][j] = first ? wasm_f32x4_const_splat(0) : LOAD(from[i] + 4 * j);
}

INLINE void store_sums(v128_t s[ROWS][VECTORS], float (*to)[TILE_COLUMNS]) {
  UNROLL for (int i = 0; i < ROWS; i++) UNROLL for (int j = 0; j < VECTORS; j++) wasm_v128_store(to[i] + 4 * j, s[i][j]);
}

// Four depths of a row of x are one load.
static void add_along(int first, const float *const *rows, const float *w, int depth, float (*to)[TILE_COLUMNS]) {
  v128_t s[ROWS][VECTORS], u[ROWS], x[ROWS];
  const float *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
  load_sums(first, to, s);
  for (; depth >= 4; depth -= 4, a += 4, b += 4, c += 4, d += 4) {
    x[0] = LOAD(a), x[1] = LOAD(b), x[2] = LOAD(c), x[3] = LOAD(d);
    UNROLL for (int k = 0; k < 4; k++, w += STRIP) {
      UNROLL for (int i = 0; i < ROWS; i++) u[i] = lane(x[i], k);
      add_step(u, w, s);
    }
  }
  for (int k = 0; k < depth; k++, w += STRIP) {
    u[0] = wasm_v128_load32_splat(a + k), u[1] = wasm_v128_load32_splat(b + k);
    u[2] = wasm_v128_load32_splat(c + k), u[3] = wasm_v128_load32_splat(d + k);
    add_step(u, w, s);
  }
  store_sums(s, to);
}

// Four rows are one load.
static void add_down(int first, const float *x, int stride, int rows, const float *w, int depth, float (*to)[TILE_COLUMNS]) {
  v128_t s[ROWS][VECTORS], u[ROWS];
  load_sums(first, to, s);
  for (; depth > 0; depth--, x += stride, w += STRIP) {
    v128_t four = load_some(x, rows);
    UNROLL for (int i = 0; i < ROWS; i++) u[i] = lane(four, i);
    add_step(u, w, s);
  }
  store_sums(s, to);
}

// Rows row … row + 3 with all strips of a piece. Behind the last row the last one counts again, for sums that nobody reads.
static void add_rows(const product *p, int row, int row_end, int k, int depth, int columns, panels w, float (*to)[TILE_COLUMNS]) {
  const float *x[ROWS];
  for (int i = 0; i < ROWS; i++) x[i] = p->x + (size_t)at_most(row + i, row_end - 1) * p->depth + k;
  for (int i = 0; i * STRIP < columns; i++) {
    float(*at)[TILE_COLUMNS] = (float(*)[TILE_COLUMNS])(*to + i * STRIP);
    if (p->x_down) add_down(k == 0, p->x + (size_t)k * p->rows + row, p->rows, p->rows - row, w[i][0], depth, at);
    else add_along(k == 0, x, w[i][0], depth, at);
  }
}

static void finish_row(const product *p, int row, int column, int columns, const float *from) {
  size_t at = (size_t)row * p->columns + column;
  v128_t factor = wasm_f32x4_splat(p->factor);
  int c = 0;
  if (!p->bias && !p->residual && p->act == ACT_NONE)  // where sums are short, asking for each vector costs as much as the sum
    for (; c + 4 <= columns; c += 4) wasm_v128_store(p->y + at + c, wasm_f32x4_mul(LOAD(from + c), factor));
  for (; c < columns; c += 4) {
    int left = columns - c;
    v128_t v = wasm_f32x4_mul(LOAD(from + c), factor);
    if (p->bias) v = wasm_f32x4_add(v, load_some(p->bias + column + c, left));
    v = activate(v, p->act);
    if (p->residual) v = wasm_f32x4_add(v, load_some(p->residual + at + c, left));
    store_some(p->y + at + c, v, left);
  }
}

void multiply(const product *p, int row, int row_end, int column, int column_end) {
  panels w;
  sums s;
  for (int rows; row < row_end; row += rows) {
    rows = at_most(row_end - row, TILE_ROWS);
    for (int c = column, columns; c < column_end; c += columns) {
      columns = at_most(column_end - c, TILE_COLUMNS);
      for (int k = 0; k == 0 || k < p->depth; k += DEPTH) {
        int depth = at_most(p->depth - k, DEPTH);
        (p->w_down ? pack_down : pack_along)(p, k, depth, c, columns, w);
        for (int i = 0; i < rows; i += ROWS) add_rows(p, row + i, row_end, k, depth, columns, w, s + i);
      }
      for (int i = 0; i < rows; i++) finish_row(p, row + i, c, columns, s[i]);
    }
  }
}
