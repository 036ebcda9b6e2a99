// The engine module's internal ABI, shared by every kernel in ops/.
//
//   int op(const op_args *a, int thread, int threads)
//
// An argument block is a struct of 4-byte words in the order of the kernel's row in edgenet/kernels/ops.py (a test compares the two).
// Work is split by rows: thread t of T takes rows [rows*t/T, rows*(t+1)/T). A kernel that has no rows to split runs on thread 0 and the
// others return at once. Kernels keep no state, own no buffers and use no C library; they are leaves that never touch the shadow stack,
// so a later shared-memory build may run them on any thread without a stack of its own.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name)))

// Return codes of ADR-005 (upheld by the engine's own kernels as well as by extension kernels).
enum { OK = 0, INVALID_INPUT = 1, INVALID_OUTPUT = 2, INVALID_PARAMS = 3, OUT_OF_MEMORY = 4, NOT_IMPLEMENTED = 5, INTERNAL_ERROR = 6 };

#define MAX_RANK 16

// a * b + c; relaxed builds may fuse (one rounding), plain ones round twice. Tolerances in ops.py allow for either.
static inline v128_t madd(v128_t a, v128_t b, v128_t c) {
#ifdef __wasm_relaxed_simd__
  return wasm_f32x4_relaxed_madd(a, b, c);
#else
  return wasm_f32x4_add(wasm_f32x4_mul(a, b), c);
#endif
}

static inline float hsum(v128_t v) {
  v = wasm_f32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  return wasm_f32x4_extract_lane(v, 0) + wasm_f32x4_extract_lane(v, 1);
}

// v * 0 is 0 for a finite v and NaN otherwise, and NaN survives addition: so the sum of v * 0 is 0 exactly when every v is finite.
static inline v128_t poison(v128_t acc, v128_t v) { return madd(v, wasm_f32x4_const_splat(0), acc); }
static inline int is_clean(v128_t acc) { return hsum(acc) == 0; }

static inline int row_begin(int rows, int thread, int threads) { return (int)((int64_t)rows * thread / threads); }
