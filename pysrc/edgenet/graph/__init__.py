"""Models as Graphs, and the Programs they are compiled to. Runs anywhere; compiling imports no NumPy."""

from .capacity import Capacity
from .compile import compile
from .graph import Graph, Node, Tensor
from .program import Program

__all__ = ["Capacity", "Graph", "Node", "Program", "Tensor", "compile"]
