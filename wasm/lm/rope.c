// Rotary position embedding: a table of angles once per run, then pairs of numbers turned by them; fused with what stands around it in a decoder.
#include "kv.h"
#include "norm.h"

// sin and cos of x to 1e-11 for |x| < 1e6: x = k pi/2 + r in f64 (pi/2 in two parts, k times the first is exact), polynomials on |r| <= pi/4
static void sincos(double x, float magnitude, float *cosine, float *sine) {
  double k = __builtin_rint(x * 0.63661977236758134), r = x - k * 1.57079632673412561 - k * 6.07710050650619224e-11, z = r * r;
  double s = r + r * z * (-0.166666666414 + z * (0.00833332936221 + z * (-0.000198393271164 + z * 2.71823710167e-06)));
  double c = 1 - z / 2 + z * z * (0.0416666666225 + z * (-0.00138888837225 + z * (2.47995117314e-05 + z * -2.72095453452e-07)));
  int quarter = (int)((int64_t)k & 3);
  double sines[4] = {s, c, -s, -c};
  *sine = (float)(sines[quarter] * magnitude);
  *cosine = (float)(sines[(quarter + 1) & 3] * magnitude);
}

typedef struct {
  const int32_t *positions;  // n
  const float *frequencies;  // half
  float *y;                  // n x 2 x half: cosines, then sines
  int32_t n, half;
  float magnitude;
} rope_table_args;

OP(rope_table) {
  if (a->n < 0 || a->half <= 0) return INVALID_PARAMS;
  int row, end, half = a->half;
  share(a->n, 1, thread, threads, &row, &end);
  for (; row < end; row++) {
    if (a->positions[row] < 0) return INVALID_INPUT;
    float *y = a->y + (size_t)row * 2 * half;
    for (int i = 0; i < half; i++) sincos((double)a->positions[row] * a->frequencies[i], a->magnitude, y + i, y + half + i);
  }
  return OK;
}

// Pairs (i, i + half)
static void turn_halves(float *x, const float *table, int half) {
  const float *cosine = table, *sine = table + half;
  for (int i = 0; i < half; i += 4) {
    int left = half - i;
    v128_t a = load_some(x + i, left), b = load_some(x + half + i, left), c = load_some(cosine + i, left), s = load_some(sine + i, left);
    store_some(x + i, wasm_f32x4_sub(wasm_f32x4_mul(a, c), wasm_f32x4_mul(b, s)), left);
    store_some(x + half + i, wasm_f32x4_add(wasm_f32x4_mul(b, c), wasm_f32x4_mul(a, s)), left);
  }
}

// Pairs (2i, 2i + 1)
static void turn_pairs(float *x, const float *table, int half) {
  for (int i = 0; i < half; i++) {
    float a = x[2 * i], b = x[2 * i + 1], c = table[i], s = table[half + i];
    x[2 * i] = a * c - b * s;
    x[2 * i + 1] = b * c + a * s;
  }
}

static inline void turn(float *x, const float *table, int half, uint32_t style) { (style == STYLE_NEOX ? turn_halves : turn_pairs)(x, table, half); }

static inline int is_bad_turn(int half, int head_dim, uint32_t style) { return half <= 0 || 2 * half > head_dim || style > STYLE_NORM; }

typedef struct {
  float *x;            // n x heads x head_dim; the first 2 * half numbers of a head are turned
  const float *table;  // n x 2 x half
  int32_t n, heads, head_dim, half;
  uint32_t style;
} rope_args;

// Threads split (row, head).
OP(rope) {
  if (a->n < 0 || a->heads <= 0 || is_bad_turn(a->half, a->head_dim, a->style)) return INVALID_PARAMS;
  int item, end;
  share(a->n * a->heads, 1, thread, threads, &item, &end);
  for (; item < end; item++) turn(a->x + (size_t)item * a->head_dim, a->table + (size_t)(item / a->heads) * 2 * a->half, a->half, a->style);
  return OK;
}

typedef struct {
  float *q;                      // n x heads x head_dim
  const float *k, *v;            // n x kv_heads x head_dim
  const float *table;            // n x 2 x half
  const float *q_norm, *k_norm;  // head_dim, or 0: the RMS norm of each head, before it is turned
  uint8_t *kcache, *vcache;      // cache_pages pages
  const int32_t *positions, *sequences, *pages;
  int32_t n, heads, kv_heads, head_dim, half;
  uint32_t style;
  int32_t page, max_pages, seqs, cache_pages;
  uint32_t kv_type;
  float eps;
} rope_kv_args;

// x may be y
static void prepare(const rope_kv_args *a, const float *x, float *y, const float *norm, const float *table) {
  int d = a->head_dim;
  v128_t inverse = norm ? wasm_f32x4_splat(rms_inverse(x, d, a->eps)) : wasm_f32x4_const_splat(1);
  for (int i = 0; i < d; i += 4) wasm_v128_store(y + i, rms_at(x, norm, inverse, i, 4));
  turn(y, table, a->half, a->style);
}

// q is turned in place; k is turned and stored in its page, v stored. Threads split rows of heads + 2 kv_heads items.
OP(rope_kv) {
  cache c = {a->kcache, a->vcache, a->pages, a->kv_heads, a->head_dim, a->page, a->max_pages, a->seqs, a->cache_pages, a->kv_type};
  if (a->n < 0 || a->heads <= 0 || is_bad_cache(&c) || is_bad_turn(a->half, a->head_dim, a->style)) return INVALID_PARAMS;
  int item, end, d = a->head_dim, items = a->heads + 2 * a->kv_heads;
  share(a->n * items, 1, thread, threads, &item, &end);
  for (; item < end; item++) {
    int row = item / items, head = item % items;
    const float *table = a->table + (size_t)row * 2 * a->half;
    float *q = a->q + ((size_t)row * a->heads + head) * d, key[MAX_HEAD_DIM];
    if (head < a->heads) {
      prepare(a, q, q, a->q_norm, table);
      continue;
    }
    int at = a->positions[row], page = kv_page(&c, a->sequences[row], at), side = (head - a->heads) / a->kv_heads;
    if (page < 0) return INVALID_INPUT;
    head = (head - a->heads) % a->kv_heads;
    size_t source = ((size_t)row * a->kv_heads + head) * d;
    if (side == 0) prepare(a, a->k + source, key, a->k_norm, table);
    kv_put(&c, kv_rows(&c, side ? c.v : c.k, page, head), at % c.page, side ? a->v + source : key);
  }
  return OK;
}
