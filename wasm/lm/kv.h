// The paged cache of keys and values. A page holds, for each K/V head, `page` rows of head_dim values, then for q8 and q4 `page` f32 scales:
//   f32  4 bytes a value
//   q8   int8; value = integer * scale, scale = largest magnitude / 127
//   q4   two values in a byte, element i in the low half of byte i, element i + head_dim / 2 in the high half; value = (nibble - 8) * scale,
//        where the value of largest magnitude is -8 * scale (so one end of its range is exact, as in GGML's Q4_0)
// A sequence's row of `pages` says which page holds its tokens [i * page, (i + 1) * page).
#pragma once
#include "lm.h"

typedef struct {
  uint8_t *k, *v;        // cache_pages pages each
  const int32_t *pages;  // seqs x max_pages
  int32_t kv_heads, head_dim, page, max_pages, seqs, cache_pages;
  uint32_t type;
} cache;

static inline int is_bad_cache(const cache *c) {
  return c->kv_heads <= 0 || c->head_dim <= 0 || c->head_dim > MAX_HEAD_DIM || c->head_dim % (c->type == KV_F32 ? 4 : 16) || c->page <= 0 ||
         c->max_pages <= 0 || c->seqs <= 0 || c->cache_pages <= 0 || c->type > KV_Q4;
}

static inline size_t kv_row_bytes(const cache *c) { return c->type == KV_F32 ? 4u * c->head_dim : c->type == KV_Q8 ? c->head_dim : c->head_dim / 2u; }

// Rows and scales of one head in a page
static inline size_t kv_head_bytes(const cache *c) { return c->page * (kv_row_bytes(c) + (c->type == KV_F32 ? 0 : 4)); }

// Where a page's rows of one head begin
static inline uint8_t *kv_rows(const cache *c, uint8_t *side, int page, int head) { return side + ((size_t)page * c->kv_heads + head) * kv_head_bytes(c); }

static inline float *kv_scales(const cache *c, uint8_t *rows) { return (float *)(rows + c->page * kv_row_bytes(c)); }

// The page of the cache that holds this token of a sequence, or -1 when the position, the sequence or the page table's entry is out of range
static inline int kv_page(const cache *c, int sequence, int position) {
  if ((uint32_t)sequence >= (uint32_t)c->seqs || position < 0 || position / c->page >= c->max_pages) return -1;
  int page = c->pages[(size_t)sequence * c->max_pages + position / c->page];
  return page < c->cache_pages ? page : -1;
}

void kv_put(const cache *c, uint8_t *rows, int at, const float *x);                    // rows[at] = x
void kv_get(const cache *c, uint8_t *rows, int from, int to, float *y);                // y[i] = rows[from + i], unpacked; not for f32
