"""What one run of a graph costs: floating-point operations, and bytes read or written. Runs anywhere.

Counts, not predictions: an engine that keeps weights in fewer bits or rows in a cache moves less.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

from ..formats.types import row_bytes
from .data import GraphData, Node, Tensor
from .ops import OPS
from .sizes import Known, evaluate, match


class Cost(NamedTuple):
    """Of one node, or a sum. `weights`: bytes of weights, in the types of the file; `moved`: of activations and caches, as f32."""

    flops: int
    weights: int
    moved: int


def cost(graph: GraphData, sizes: Mapping[str, int], context: int = 0) -> list[tuple[Node, Cost]]:
    """(node, its cost) for each op that the outputs need, in order. `sizes`: n, m, s of the run; `context`: tokens that a row attends to.

    Raises InvalidGraph for a cycle, KeyError for a size that is not given.
    """
    return [(node, _cost(node, graph, sizes, context)) for node in graph.order()]


def total(costs: list[tuple[Node, Cost]]) -> Cost:
    """The sum of all nodes."""
    return Cost(*(sum(column) for column in zip(*(c for _, c in costs), strict=True)))


def _cost(node: Node, graph: GraphData, sizes: Mapping[str, int], context: int) -> Cost:
    op = OPS[node.op]
    known: Known = {k: v for k, v in node.attributes.items() if isinstance(v, int)} | {"context": context}
    given = [(port, node.inputs[port.name]) for port in op.ports if node.inputs[port.name] is not None]
    for port, tensor in given:
        match(port.shape, _shape(tensor, sizes), known)
    rows = known.get("r", 0)
    weights, moved = 0, 4 * prod(_shape(node.output, sizes)) if node.output.shape else 0
    for port, tensor in given:
        leaf = graph.leaves.get(tensor.name)
        if leaf and leaf.kind == "weight":
            *outer, columns = tensor.shape
            weights += (rows if port.name == "table" else prod(outer)) * row_bytes(tensor.dtype, columns)
        elif tensor.dtype == "kv":
            moved += 2 * 4 * rows * evaluate("context*kv_heads*head_dim", known)
        else:
            moved += 4 * prod(_shape(tensor, sizes))
    flops = sum(evaluate(product.strip(), known) for product in op.flops.split("+"))
    return Cost(flops, weights, moved)


def _shape(tensor: Tensor, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[s] if isinstance(s, str) else s for s in tensor.shape)
