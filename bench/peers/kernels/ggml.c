// llama.cpp's own dot kernels alone: "generic" is what pages get whose build does not select its WebAssembly kernels (wllama 3.8.1), "arch" what
// they would get. Compiled against ggml's source when it is there; part of no build.
#include "ggml-impl.h"
#include "quants.h"

#define EXPORT(name) __attribute__((export_name(#name)))

float ggml_table_f32_f16[1 << 16];
void ggml_abort(const char *file, int line, const char *format, ...) { __builtin_trap(); }

EXPORT(init) void init(void) {
  for (int i = 0; i < 1 << 16; i++) ggml_table_f32_f16[i] = GGML_COMPUTE_FP16_TO_FP32(i);
}

#define MATVEC(name, dot, quantize)                                                                                                      \
  EXPORT(name) void name(const char *w, int row_bytes, int rows, int columns, const float *x, void *room, float *y) {                    \
    quantize(x, room, columns);                                                                                                          \
    for (int r = 0; r < rows; r++) dot(columns, y + r, 0, w + (long)r * row_bytes, 0, room, 0, 1);                                       \
  }

MATVEC(q4_0, ggml_vec_dot_q4_0_q8_0, quantize_row_q8_0)
MATVEC(q8_0, ggml_vec_dot_q8_0_q8_0, quantize_row_q8_0)
MATVEC(q4_k, ggml_vec_dot_q4_K_q8_K, quantize_row_q8_K)
MATVEC(q6_k, ggml_vec_dot_q6_K_q8_K, quantize_row_q8_K)
