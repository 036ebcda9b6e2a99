// What this machine's WebAssembly can do at best: multiply-adds that wait for nothing, and memory read from four places. Part of no build.
#include <stdint.h>
#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define SUMS 12  // as many as registers hold: each waits for its own last result

static float sum_of(v128_t *s) {
  for (int i = 1; i < SUMS; i++) s[0] = wasm_i32x4_add(s[0], s[i]);
  return (float)wasm_i32x4_extract_lane(s[0], 0);
}

// rounds * 12 * 16 multiply-adds of int8 with 7-bit integers, two instructions for 16
EXPORT(int8) float int8(const int8_t *p, int rounds) {
  v128_t s[SUMS], a = wasm_v128_and(wasm_v128_load(p), wasm_i8x16_const_splat(15));
  for (int i = 0; i < SUMS; i++) s[i] = wasm_i16x8_splat((int16_t)i);
  for (; rounds; rounds--)
    _Pragma("clang loop unroll(full)") for (int i = 0; i < SUMS; i++) s[i] = wasm_i16x8_add(wasm_i16x8_relaxed_dot_i8x16_i7x16(s[i], a), s[i]);
  return sum_of(s);
}

// rounds * 12 * 8 multiply-adds of int16
EXPORT(int16) float int16(const int16_t *p, int rounds) {
  v128_t s[SUMS], a = wasm_v128_load(p);
  for (int i = 0; i < SUMS; i++) s[i] = wasm_i32x4_splat(i);
  for (; rounds; rounds--)
    _Pragma("clang loop unroll(full)") for (int i = 0; i < SUMS; i++) s[i] = wasm_i32x4_add(wasm_i32x4_dot_i16x8(s[i], a), s[i]);
  return sum_of(s);
}

// rounds * 12 * 4 multiply-adds of f32
EXPORT(f32) float f32(const float *p, int rounds) {
  v128_t s[SUMS], a = wasm_v128_load(p), b = wasm_v128_load(p + 4);
  for (int i = 0; i < SUMS; i++) s[i] = wasm_f32x4_splat((float)i);
  for (; rounds; rounds--)
    _Pragma("clang loop unroll(full)") for (int i = 0; i < SUMS; i++) s[i] = wasm_f32x4_relaxed_madd(s[i], a, b);
  return sum_of(s);
}

EXPORT(read) float read(const uint8_t *p, int bytes) {
  v128_t s[SUMS] = {0};
  int quarter = bytes / 4;
  for (int i = 0; i < quarter; i += 64)
    _Pragma("clang loop unroll(full)") for (int k = 0; k < 16; k++) s[k % 8] = wasm_v128_xor(s[k % 8], wasm_v128_load(p + (k / 4) * quarter + i + 16 * (k % 4)));
  return sum_of(s);
}
