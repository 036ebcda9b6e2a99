"""Kernels: the table of the engine's numeric operations, extension kernels, and the signed packs that carry both. Runs anywhere."""

from .ops import KERNELS, Arg, Kernel, NumpyEngine, layouts

__all__ = ["KERNELS", "Arg", "Kernel", "NumpyEngine", "layouts"]
