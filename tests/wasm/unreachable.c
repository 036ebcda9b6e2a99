// Traps by an unreachable instruction.
#include "../../wasm/ext/kernel.h"

EXPORT(kernel_forward) int kernel_forward(const descriptor *d) {
  (void)d;
  __builtin_trap();
}
