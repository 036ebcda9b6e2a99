// What an extension kernel sees: ADR-005's descriptor, ten little-endian u32 at byte 0 of its own memory (bytes 40..63 are reserved).
// Exports: kernel_init(params, len), kernel_forward(desc), kernel_info(out), kernel_cleanup(); all answer one of the codes below.
#pragma once
#include <stdint.h>
#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name)))
enum { OK = 0, INVALID_INPUT = 1, INVALID_OUTPUT = 2, INVALID_PARAMS = 3, OUT_OF_MEMORY = 4, NOT_IMPLEMENTED = 5, INTERNAL_ERROR = 6 };

typedef struct {
  uint32_t a, a_size, b, b_size, out, out_size, scratch, scratch_size, params, params_size;
} descriptor;

// kernel_info writes this: ABI version, least params size, least scratch size, whether kernel_backward exists
typedef struct {
  uint32_t abi, params_size, scratch_size, has_backward;
} kernel_info_t;

#define AT(type, offset) ((type *)(uintptr_t)(offset))
#define STATELESS(params_bytes)                                                                                       \
  EXPORT(kernel_init) int kernel_init(const void *p, uint32_t n) { return n == (params_bytes) ? OK : INVALID_PARAMS; } \
  EXPORT(kernel_info) int kernel_info(kernel_info_t *i) { *i = (kernel_info_t){1, (params_bytes), 0, 0}; return OK; }  \
  EXPORT(kernel_cleanup) int kernel_cleanup(void) { return OK; }

// rows * columns * 4 bytes, or 0 when that does not fit 32 bits
static inline uint32_t f32_bytes(uint32_t rows, uint32_t columns) {
  uint64_t n = (uint64_t)rows * columns;
  return n < (1u << 30) ? (uint32_t)n * 4 : 0;
}
