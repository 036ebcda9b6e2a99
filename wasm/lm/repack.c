// From a file's blocks to the engine's layout, some rows at a time from a staging buffer. Not an op: the loader calls it.
//
// Each file type says how one row's block of 32 becomes four words that all types share (`parts`); four rows are then laid side by side.
#include "repack_types.h"

// Words k of four rows side by side: out[k] = {a[k], b[k], c[k], d[k]}.
INLINE void transpose(const v128_t *in, v128_t *out) {
  v128_t ab0 = wasm_i32x4_shuffle(in[0], in[1], 0, 4, 1, 5), ab1 = wasm_i32x4_shuffle(in[0], in[1], 2, 6, 3, 7);
  v128_t cd0 = wasm_i32x4_shuffle(in[2], in[3], 0, 4, 1, 5), cd1 = wasm_i32x4_shuffle(in[2], in[3], 2, 6, 3, 7);
  out[0] = wasm_i64x2_shuffle(ab0, cd0, 0, 2), out[1] = wasm_i64x2_shuffle(ab0, cd0, 1, 3);
  out[2] = wasm_i64x2_shuffle(ab1, cd1, 0, 2), out[3] = wasm_i64x2_shuffle(ab1, cd1, 1, 3);
}

INLINE void store_bits(uint8_t *bits, const parts *row) {
  v128_t in[4], out[4];
  UNROLL for (int r = 0; r < 4; r++) in[r] = row[r].bits;
  transpose(in, out);
  UNROLL for (int k = 0; k < 4; k++) wasm_v128_store(bits + 16 * k, out[k]);
}

// Sixteen pairs of columns of each row: pairs of four rows become one word of eight bytes.
INLINE void store_bytes(int8_t *bits, const parts *row) {
  UNROLL for (int h = 0; h < 2; h++) {
    v128_t a = row[0].bytes[h], b = row[1].bytes[h], c = row[2].bytes[h], d = row[3].bytes[h];
    v128_t low[2] = {wasm_i16x8_shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11), wasm_i16x8_shuffle(c, d, 0, 8, 1, 9, 2, 10, 3, 11)};
    v128_t high[2] = {wasm_i16x8_shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15), wasm_i16x8_shuffle(c, d, 4, 12, 5, 13, 6, 14, 7, 15)};
    int8_t *to = bits + 64 * h;
    wasm_v128_store(to, wasm_i32x4_shuffle(low[0], low[1], 0, 4, 1, 5)), wasm_v128_store(to + 16, wasm_i32x4_shuffle(low[0], low[1], 2, 6, 3, 7));
    wasm_v128_store(to + 32, wasm_i32x4_shuffle(high[0], high[1], 0, 4, 1, 5)), wasm_v128_store(to + 48, wasm_i32x4_shuffle(high[0], high[1], 2, 6, 3, 7));
  }
}

// Writes one block of a group; answers whether a scale is no finite f16.
INLINE int store_block(const int layout, uint8_t *to, const parts *row) {
  uint32_t bad = 0;
  UNROLL for (int r = 0; r < GROUP; r++) {
    uint16_t *scales = (uint16_t *)to + r;
    int two = layout != LAYOUT_Q4 && layout != LAYOUT_Q8;
    scales[0] = row[r].scale[0];
    bad |= !finite_half(row[r].scale[0]);
    if (two) scales[GROUP] = row[r].scale[1], bad |= !finite_half(row[r].scale[1]);
  }
  switch (layout) {
    case LAYOUT_Q4: store_bits(((q4_block *)to)->bits, row); break;
    case LAYOUT_Q4M: store_bits(((q4m_block *)to)->bits, row); break;
    case LAYOUT_Q8: store_bytes(((q8_block *)to)->bits, row); break;
    case LAYOUT_Q5M:
      store_bits(((q5m_block *)to)->bits, row);
      UNROLL for (int r = 0; r < GROUP; r++) ((uint32_t *)((q5m_block *)to)->fifth)[r] = row[r].top[0];
      break;
    default:
      store_bits(((q6_block *)to)->bits, row);
      UNROLL for (int r = 0; r < GROUP; r++) UNROLL for (int h = 0; h < 2; h++) ((uint32_t *)((q6_block *)to)->top[h])[r] = row[r].top[h];
  }
  return (int)bad;
}

// `count` rows; those that lack to a whole group are zeros.
INLINE int interleave(const int layout, const int per, const int bytes, part_function *part, const uint8_t *from, uint8_t *to, int columns, int count) {
  size_t row_bytes = (size_t)(columns / (BLOCK * per)) * bytes;
  int bad = 0, blocks = columns / BLOCK;
  for (int g = 0; g < count; g += GROUP, from += GROUP * row_bytes)
    for (int b = 0; b < blocks; b++, to += layout_bytes[layout]) {
      parts row[GROUP] = {0};
      UNROLL for (int r = 0; r < GROUP; r++)
        if (g + r < count) part(from + r * row_bytes + (size_t)(b / per) * bytes, b % per, &row[r]);
      bad |= store_block(layout, to, row);
    }
  return bad ? INVALID_INPUT : OK;
}

// Whether all bits of `exponent` (of each 16 or 32 bits) are set in some of four or eight numbers: NaN or Inf.
INLINE v128_t not_finite(v128_t v, int size, uint32_t exponent) {
  v128_t mask = wasm_i32x4_splat((int32_t)exponent), e = wasm_v128_and(v, mask);
  return size == 4 ? wasm_i32x4_eq(e, mask) : wasm_i16x8_eq(e, mask);
}

// Copies n numbers of `size` bytes; INVALID_INPUT when one is NaN or Inf.
INLINE int copy(const uint8_t *from, uint8_t *to, size_t n, int size, uint32_t exponent) {
  v128_t bad = wasm_i32x4_const_splat(0);
  uint8_t last[16] = {0};
  size_t bytes = n * (size_t)size, i = 0;
  for (; i + 16 <= bytes; i += 16) {
    v128_t v = LOAD(from + i);
    bad = wasm_v128_or(bad, not_finite(v, size, exponent));
    wasm_v128_store(to + i, v);
  }
  for (size_t k = 0; i + k < bytes; k++) to[i + k] = last[k] = from[i + k];
  return wasm_v128_any_true(wasm_v128_or(bad, not_finite(LOAD(last), size, exponent))) ? INVALID_INPUT : OK;
}

// f16 or bfloat16 to f32, for vectors such as biases, which kernels read as f32.
static int widen(uint32_t form, const uint8_t *from, uint8_t *to, size_t n) {
  uint32_t bad = 0, exponent = form == LAYOUT_F16 ? 0x7c00 : 0x7f80;
  for (size_t i = 0; i < n; i++) {
    uint16_t h = read_half(from + 2 * i);
    bad |= (h & exponent) == exponent;
    ((float *)to)[i] = form == LAYOUT_F16 ? half_value(h) : bits_float((uint32_t)h << 16);
  }
  return bad ? INVALID_INPUT : OK;
}

// X(number of the type in GGUF, layout, blocks of 32 columns in the file's block, bytes of it, part)
#define QUANTIZED_TYPES(X)                                                                                                      \
  X(2, LAYOUT_Q4, 1, 18, part_q4_0) X(3, LAYOUT_Q4M, 1, 20, part_q4_1) X(6, LAYOUT_Q5M, 1, 22, part_q5_0)                       \
  X(7, LAYOUT_Q5M, 1, 24, part_q5_1) X(8, LAYOUT_Q8, 1, 34, part_q8_0) X(12, LAYOUT_Q4M, 8, 144, part_q4_k)                     \
  X(13, LAYOUT_Q5M, 8, 176, part_q5_k) X(14, LAYOUT_Q6, 8, 210, part_q6_k)
// X(number, layout, bytes, exponent bits)
#define PLAIN_TYPES(X) X(0, LAYOUT_F32, 4, 0x7f800000) X(1, LAYOUT_F16, 2, 0x7c007c00) X(30, LAYOUT_BF16, 2, 0x7f807f80)

// Rows first_row … first_row + count - 1 of a (rows, columns) matrix of file type `type`, from `source` into their place in the matrix at
// `destination`. Quantised layouts need whole groups but at the end. INVALID_INPUT: a scale or a number is NaN or Inf, or beyond f16.
EXPORT(repack) int repack(uint32_t type, uint32_t layout, const uint8_t *source, uint8_t *destination, int rows, int columns, int first_row, int count) {
  if (rows <= 0 || columns <= 0 || first_row < 0 || count < 0 || count > rows - first_row || layout >= LAYOUT_COUNT) return INVALID_PARAMS;
  int whole = first_row % GROUP == 0 && (count % GROUP == 0 || first_row + count == rows), unit = layout_bytes[layout];
  size_t n = (size_t)count * columns, units = is_quantized(layout) ? (size_t)(first_row / GROUP) * (columns / BLOCK) : (size_t)first_row * columns;
  uint8_t *to = destination + units * unit;
  switch (type) {
#define QUANTIZED_CASE(number, form, per, bytes, part) \
  case number: return layout != form || columns % (BLOCK * per) || !whole ? INVALID_PARAMS : interleave(form, per, bytes, part, source, to, columns, count);
#define PLAIN_CASE(number, form, bytes, exponent) \
  case number: return layout == form ? copy(source, to, n, bytes, exponent) : layout == LAYOUT_F32 ? widen(form, source, to, n) : INVALID_PARAMS;
    QUANTIZED_TYPES(QUANTIZED_CASE)
    PLAIN_TYPES(PLAIN_CASE)
    default: return INVALID_PARAMS;
  }
}
