"""Kernels: the table of the engine's numeric operations, extension kernels, and the signed packs that carry both. Runs anywhere."""

from .extensions import ExtensionPack, load_extensions
from .ops import KERNELS, Arg, Kernel, NumpyEngine, layouts

__all__ = ["KERNELS", "Arg", "ExtensionPack", "Kernel", "NumpyEngine", "layouts", "load_extensions"]
