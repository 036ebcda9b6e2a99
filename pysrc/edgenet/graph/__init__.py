"""Models as Graphs, and the Programs they are compiled to. Runs anywhere; compiling imports no NumPy."""

from .capacity import Capacity
from .graph import Graph, Node, Tensor

__all__ = ["Capacity", "Graph", "Node", "Tensor"]
