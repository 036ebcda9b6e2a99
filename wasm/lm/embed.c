// Rows of a weight as f32: the embedding look-up. Threads split the rows asked for.
#include "layouts.h"

// Columns of one block of row r of a group, in f32, one at a time: a token is a few hundred numbers.
INLINE float column(const int form, const uint8_t *w, int r, int c) {
  int half = c / 16, at = c % 16 / 4 * 16 + 4 * r + c % 4, shift = 4 * half, vector = c / 4, byte = 4 * r + c % 4;
  switch (form) {
    case LAYOUT_Q4: return (((const q4_block *)w)->bits[at] >> shift & 15) - 8;
    case LAYOUT_Q4M: return ((const q4m_block *)w)->bits[at] >> shift & 15;
    case LAYOUT_Q5M: {
      const q5m_block *q = (const q5m_block *)w;
      return (q->bits[at] >> shift & 15) | (q->fifth[byte] >> vector & 1) << 4;
    }
    case LAYOUT_Q6: {
      const q6_block *q = (const q6_block *)w;
      return ((q->bits[at] >> shift & 15) | (q->top[half][byte] >> (2 * (vector % 4)) & 3) << 4) - 32;
    }
    default: return ((const q8_block *)w)->bits[c / 2 * 8 + 2 * r + c % 2];
  }
}

INLINE float lane(v128_t v, int r) {
  float four[4];
  wasm_v128_store(four, v);
  return four[r];
}

INLINE void quantized_row(const int form, const uint8_t *w, int r, int d, float factor, float *y) {
  for (int b = 0; b < d / BLOCK; b++, w += layout_bytes[form], y += BLOCK) {
    float scale[2] = {lane(half4(w), r), lane(half4(form == LAYOUT_Q6 ? w + 8 : w), r)};
    float least = form == LAYOUT_Q4M || form == LAYOUT_Q5M ? lane(half4(w + 8), r) : 0;
    for (int c = 0; c < BLOCK; c++) y[c] = factor * (scale[c / 16] * column(form, w, r, c) + least);
  }
}

static void plain_row(uint32_t layout, const uint8_t *w, int d, float factor, float *y) {
  for (int i = 0; i < d; i++) {
    float one[4];
    const uint16_t *half = (const uint16_t *)w + i;
    if (layout == LAYOUT_F32) one[0] = ((const float *)w)[i];
    else wasm_v128_store(one, layout == LAYOUT_F16 ? half4((uint16_t[4]){*half}) : bfloat4((uint16_t[4]){*half}));
    y[i] = factor * one[0];
  }
}

static void row_of(const weight *w, int row, int d, float factor, float *y) {
  size_t unit = layout_bytes[w->layout];
  if (!is_quantized(w->layout)) {
    plain_row(w->layout, w->at + (size_t)row * d * unit, d, factor, y);
    return;
  }
  const uint8_t *group = w->at + (size_t)(row / GROUP) * (d / BLOCK) * unit;
  switch (w->layout) {
#define CASE(form) case form: quantized_row(form, group, row % GROUP, d, factor, y); break;
    CASE(LAYOUT_Q4) CASE(LAYOUT_Q4M) CASE(LAYOUT_Q5M) CASE(LAYOUT_Q6) CASE(LAYOUT_Q8)
  }
}

typedef struct {
  weight table;        // vocab x d
  const int32_t *ids;  // n
  float *y;            // n x d
  int32_t n, vocab, d;
  float scale;
} embed_args;

OP(embed) {
  if (a->n < 0 || a->d <= 0 || a->table.layout >= LAYOUT_COUNT || (is_quantized(a->table.layout) && a->d % BLOCK)) return INVALID_PARAMS;
  if (!in_range(a->ids, a->n, a->vocab)) return INVALID_INPUT;
  int begin, end;
  share(a->n, 1, thread, threads, &begin, &end);
  for (int i = begin; i < end; i++) row_of(&a->table, a->ids[i], a->d, a->scale, a->y + (size_t)i * a->d);
  return OK;
}
