"""Models as Graphs, and the Programs they are compiled to. Runs anywhere; compiling imports no NumPy."""

from .capacity import Capacity
from .compile import compile
from .data import Node, Tensor
from .graph import Graph
from .program import Program

__all__ = ["Capacity", "Graph", "Node", "Program", "Tensor", "compile"]
