// Never ends: the host must stop it at its deadline.
#include "../../wasm/ext/kernel.h"

EXPORT(kernel_forward) int kernel_forward(const descriptor *d) {
  volatile uint32_t i = d->a_size;
  for (;;) i++;
}
