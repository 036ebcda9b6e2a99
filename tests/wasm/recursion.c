// Recurses without end; the memory it writes on the way keeps the calls from being folded into a loop.
#include "../../wasm/ext/kernel.h"

static int deeper(volatile uint32_t *p, uint32_t n);
static int (*volatile next)(volatile uint32_t *, uint32_t) = deeper;
static int deeper(volatile uint32_t *p, uint32_t n) {
  *p = n;
  return next(p, n + 1) + (int)*p;
}

EXPORT(kernel_forward) int kernel_forward(const descriptor *d) { return deeper(AT(volatile uint32_t, d->out), 0); }
