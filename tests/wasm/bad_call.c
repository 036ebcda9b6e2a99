// Calls a function through a pointer of another type.
#include "../../wasm/ext/kernel.h"

static int takes_float(float x) { return (int)x; }
static int (*volatile pointer)(float) = takes_float;

EXPORT(kernel_forward) int kernel_forward(const descriptor *d) { return ((int (*)(const descriptor *, int))(void *)pointer)(d, 1); }
