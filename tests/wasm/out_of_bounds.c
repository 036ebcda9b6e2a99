// Reads far outside its memory.
#include "../../wasm/ext/kernel.h"

EXPORT(kernel_forward) int kernel_forward(const descriptor *d) {
  return *AT(volatile int, 0xfffffff0u - d->a_size % 8 * 4) != 0;
}
