"""Runs Graphs as they are written, op by op through the references: exact mathematics, the oracle of Programs. Runs where NumPy does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from ..errors import InvalidOption
from ..formats.blocks import dequantize
from ..graph import Capacity, Graph, Node, Tensor
from ..graph.ops import OPS
from ..graph.references import Run
from .face import Weights
from .hosted import DTYPES, Held, Hosted

Array = np.ndarray


@dataclass
class _Held(Held):
    """`given`: the arrays of constants, weights, states and parts by name, which runs share."""

    graph: Graph | None = None
    order: list[Node] = field(default_factory=list)
    given: dict[str, Array] = field(default_factory=dict)

    def leaves(self, kind: str) -> list[str]:
        return [name for name, leaf in self.graph.leaves.items() if leaf.kind == kind]


class GraphEngine(Hosted):
    """The engine's face over Graphs. `dtype`: the precision, "f64" or "f32". It draws no tokens: the graph's outputs are all it has.

    `pages` (sequences, max_pages), where the graph stores K and V, begins with sequence i owning the i-th run of pages.
    """

    def __init__(self, capacity: Capacity | None = None, dtype: str = "f64"):
        super().__init__()
        self.capacity, self.dtype = capacity or Capacity(sample=False), DTYPES[dtype]

    async def load(self, graph: Graph, weights: Weights) -> None:
        """Take a graph and its weights, expanded. Raises InvalidGraph, WrongLength."""
        c = self.capacity
        pages = (np.arange(c.sequences * c.max_pages, dtype=np.int32) % c.pages).reshape(c.sequences, c.max_pages)
        self.weights, self.memory = weights, Run(c, {}, pages)
        self.held = {None: self._hold(graph, {})}

    async def add(self, graphs: Mapping[str, Graph]) -> None:
        """Take more graphs; states of one name are one. Raises InvalidGraph, InvalidOption for a name that is taken."""
        self._of(None)
        if taken := [name for name in graphs if name in self.held]:
            raise InvalidOption(f"The names {taken} are taken. Drop those graphs first.")
        states: dict[str, Array] = {}
        self.held.update({name: self._hold(graph, states) for name, graph in graphs.items()})

    def _hold(self, graph: Graph, states: dict[str, Array]) -> _Held:
        graph.validate()
        it = _Held(self.capacity.slots, graph=graph, order=graph.order())
        tensor = lambda name: graph.leaves[name].tensor  # noqa: E731
        for name in it.leaves("state"):
            it.buffers[name] = states.setdefault(name, self._zeros(tensor(name))), tensor(name).shape
        outputs = {n: t for n, t in graph.outputs.items()} | {n: tensor(n) for n in it.leaves("input")}
        it.buffers |= {name: (self._zeros(t), t.shape) for name, t in outputs.items()}
        it.buffers["pages"] = self.memory.pages, self.memory.pages.shape
        it.given = {n: self._leaf(graph.leaves[n]) for n in (*it.leaves("constant"), *it.leaves("weight"))}
        it.given |= {name: it.buffers[name][0] for name in it.leaves("state")}
        it.given |= {name: _part(it, graph.leaves[name]) for name in it.leaves("part")}
        return it

    def _leaf(self, leaf) -> Array:
        if leaf.kind == "constant":
            return np.array(leaf.values, np.float32).astype(self.dtype)
        *rows, columns = leaf.tensor.shape
        kind, raw = self.weights(leaf.tensor.name)
        return dequantize(kind, raw, prod(rows), columns).reshape(leaf.tensor.shape).astype(self.dtype)

    def _zeros(self, tensor: Tensor) -> Array:
        shape = tuple(self.capacity.slots.get(s, s) for s in tensor.shape)
        return np.zeros(shape, self.dtype if tensor.dtype == "f32" else DTYPES[tensor.dtype])

    async def run(self, program: str | None = None, **slots: int) -> None:
        """Every op once, in order."""
        it = self._sizes(program, slots)
        self.memory.sizes = it.sizes
        values = dict(it.given)
        for name in it.leaves("input"):
            values[name] = await self.read(name, program)
        for node in it.order:
            inputs = {port: values[t.name] if t else None for port, t in node.inputs.items()}
            values[node.output.name] = OPS[node.op].reference()(self.memory, **inputs, **node.attributes)
        for name, tensor in it.graph.outputs.items():
            it.buffers[name][0][: len(values[tensor.name])] = values[tensor.name]


def _part(it: _Held, leaf) -> Array:
    """A view: what an op writes there, the state holds."""
    values = it.buffers[leaf.state][0].reshape(-1)
    return values[leaf.offset : leaf.offset + prod(leaf.tensor.shape)].reshape(leaf.tensor.shape)
