"""Architectures as functions of a GGUF header: header in, Graph out. Imports no NumPy; runs anywhere."""

from .table import ARCHITECTURES, build, values_needed

__all__ = ["ARCHITECTURES", "build", "values_needed"]
