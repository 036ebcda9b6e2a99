// Writing and reading rows of the cache.
#include "kv.h"

static float largest(const float *x, int n, float *size) {
  float value = 0;
  *size = 0;
  for (int i = 0; i < n; i++)
    if (__builtin_fabsf(x[i]) > *size) *size = __builtin_fabsf(value = x[i]);
  return value;
}

static v128_t rounded(const float *x, v128_t factor) { return wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(wasm_f32x4_mul(LOAD(x), factor))); }

static v128_t rounded16(const float *x, v128_t factor) {
  v128_t low = wasm_i16x8_narrow_i32x4(rounded(x, factor), rounded(x + 4, factor));
  v128_t high = wasm_i16x8_narrow_i32x4(rounded(x + 8, factor), rounded(x + 12, factor));
  return wasm_i8x16_narrow_i16x8(low, high);
}

static void put_q8(uint8_t *row, float *scale, const float *x, int d) {
  float size;
  largest(x, d, &size);
  *scale = size / 127;
  v128_t factor = wasm_f32x4_splat(size > 0 ? 127 / size : 0);
  for (int i = 0; i < d; i += 16) wasm_v128_store(row + i, rounded16(x + i, factor));
}

static void put_q4(uint8_t *row, float *scale, const float *x, int d) {
  float size, end = largest(x, d, &size), q[MAX_HEAD_DIM];
  *scale = end / -8;
  float factor = size > 0 ? -8 / end : 0;
  for (int i = 0; i < d; i++) q[i] = __builtin_rintf(x[i] * factor);  // -8 … 8; the one value too many becomes 7
  for (int i = 0; i < d / 2; i++) {
    int low = (int)(q[i] > 7 ? 7 : q[i]) + 8, high = (int)(q[i + d / 2] > 7 ? 7 : q[i + d / 2]) + 8;
    row[i] = (uint8_t)((low & 15) | high << 4);
  }
}

void kv_put(const cache *c, uint8_t *rows, int at, const float *x) {
  uint8_t *row = rows + at * kv_row_bytes(c);
  if (c->type == KV_F32) __builtin_memcpy(row, x, 4u * c->head_dim);
  else if (c->type == KV_Q8) put_q8(row, kv_scales(c, rows) + at, x, c->head_dim);
  else put_q4(row, kv_scales(c, rows) + at, x, c->head_dim);
}

// y[0 … 7] = the 8 integers of `bytes` times scale
static void scaled8(float *y, v128_t bytes16, v128_t scale) {
  wasm_v128_store(y, wasm_f32x4_mul(wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(bytes16)), scale));
  wasm_v128_store(y + 4, wasm_f32x4_mul(wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(bytes16)), scale));
}

static void get_q8(const uint8_t *row, v128_t scale, float *y, int d) {
  for (int i = 0; i < d; i += 8) scaled8(y + i, wasm_i16x8_load8x8(row + i), scale);
}

static void get_q4(const uint8_t *row, v128_t scale, float *y, int d) {
  for (int i = 0; i < d / 2; i += 8) {
    v128_t both = wasm_u16x8_load8x8(row + i), eight = wasm_i16x8_const_splat(8);
    scaled8(y + i, wasm_i16x8_sub(wasm_v128_and(both, wasm_i16x8_const_splat(15)), eight), scale);
    scaled8(y + d / 2 + i, wasm_i16x8_sub(wasm_u16x8_shr(both, 4), eight), scale);
  }
}

void kv_get(const cache *c, uint8_t *rows, int from, int to, float *y) {
  size_t bytes = kv_row_bytes(c);
  const float *scales = kv_scales(c, rows);
  for (int i = from; i < to; i++, y += c->head_dim)
    (c->type == KV_Q8 ? get_q8 : get_q4)(rows + i * bytes, wasm_f32x4_splat(scales[i]), y, c->head_dim);
}

typedef struct {
  const float *k, *v;         // n x kv_heads x head_dim
  uint8_t *kcache, *vcache;   // cache_pages pages
  const int32_t *positions, *sequences, *pages;
  int32_t n, kv_heads, head_dim, page, max_pages, seqs, cache_pages;
  uint32_t kv_type;
} kv_store_args;

// Threads split (row, K/V head).
OP(kv_store) {
  cache c = {a->kcache, a->vcache, a->pages, a->kv_heads, a->head_dim, a->page, a->max_pages, a->seqs, a->cache_pages, a->kv_type};
  if (a->n < 0 || is_bad_cache(&c)) return INVALID_PARAMS;
  int item, end;
  share(a->n * a->kv_heads, 1, thread, threads, &item, &end);
  for (; item < end; item++) {
    int row = item / a->kv_heads, head = item % a->kv_heads, at = a->positions[row], page = kv_page(&c, a->sequences[row], at);
    if (page < 0) return INVALID_INPUT;
    kv_put(&c, kv_rows(&c, c.k, page, head), at % c.page, a->k + (size_t)item * c.head_dim);
    kv_put(&c, kv_rows(&c, c.v, page, head), at % c.page, a->v + (size_t)item * c.head_dim);
  }
  return OK;
}
