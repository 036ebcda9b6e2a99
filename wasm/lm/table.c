// The interpreter's function table, from one list. Its order is that of OPS in edgenet/kernels/lm/table.py (a test compares them): a
// position is an op code, so rows are appended and never moved.
#include "interpreter.h"

#define OPS(X) \
  X(embed) X(rms_norm) X(layer_norm) X(quantize) X(rms_norm_quantize) X(layer_norm_quantize) X(matmul) X(gated) X(rope_table) X(rope) \
  X(rope_kv) X(kv_store) X(attention) X(attention_packed) X(add) X(mul) X(scale) X(softcap) X(activation) X(glu) X(rows) X(pool) X(lora) \
  X(argmax) X(sample) X(matmul_f32) X(matmul_t) X(matmul_t_int8) X(head_norm) X(rms_norm_grad) X(layer_norm_grad) X(attention_rows) \
  X(attention_rows_grad) X(columns) X(activation_grad) X(softcap_grad) X(dense) X(dense_t) X(outer) X(accumulate) X(dropout) X(token_stats) \
  X(cross_entropy) X(cross_entropy_grad) X(norm) X(adamw) X(sgd) X(adapters) X(matmul_int8)

#define DECLARE(name) int op_##name(const uint32_t *args, int thread, int threads);
#define ROW(name) op_##name,
OPS(DECLARE)

op_function *const op_table[] = {OPS(ROW)};
const uint32_t op_count = sizeof op_table / sizeof *op_table;
