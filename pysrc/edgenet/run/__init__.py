"""Engines in Python: the face that every engine has, and the NumPy engines. The wasmtime engine lives in `host/`. Runs anywhere."""

from .face import Engine, Weights
from .graph_engine import GraphEngine
from .numpy_engine import NumpyEngine

__all__ = ["Engine", "GraphEngine", "NumpyEngine", "Weights"]
