"""Kernels: the tables of the engine's numeric operations, extension kernels, and the signed packs that carry both. Runs anywhere.

Names are looked up when first used: compiling a language model needs the table in `lm` alone, and must work where NumPy is not loaded.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "ops": ("KERNELS", "Arg", "Kernel", "NumpyEngine", "layouts"),
    "extensions": ("ExtensionPack", "load_extensions"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE[name]}"), name)
