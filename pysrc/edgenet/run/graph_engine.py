"""Runs a Graph as it is written, op by op through the references: exact mathematics, the oracle of Programs. Runs where NumPy does."""

from __future__ import annotations

from math import prod

import numpy as np

from ..formats.blocks import dequantize
from ..graph import Capacity, Graph
from ..graph.ops import OPS
from ..graph.references import Run
from .face import Weights
from .hosted import DTYPES, Hosted

KINDS = ("input", "weight", "constant", "state", "part")


class GraphEngine(Hosted):
    """The engine's face over a Graph. `dtype`: the precision, "f64" or "f32". It draws no tokens: the graph's outputs are all it has.

    `pages` (sequences, max_pages), where the graph stores K and V, begins with sequence i owning the i-th run of pages.
    """

    def __init__(self, capacity: Capacity | None = None, dtype: str = "f64"):
        super().__init__()
        self.capacity, self.dtype = capacity or Capacity(sample=False), DTYPES[dtype]
        self.most = self.capacity.slots

    async def load(self, graph: Graph, weights: Weights) -> None:
        """Take a graph and its weights, expanded. Raises InvalidGraph, WrongLength."""
        graph.validate()
        self.graph, self.order = graph, graph.order()
        self.kinds = {kind: [n for n, leaf in graph.leaves.items() if leaf.kind == kind] for kind in KINDS}
        self.buffers = {n: self._zeros(graph.leaves[n].tensor) for n in (*self.kinds["input"], *self.kinds["state"])}
        self.buffers |= {name: self._zeros(t) for name, t in graph.outputs.items()}
        self.given = {n: self._leaf(graph.leaves[n], weights) for n in (*self.kinds["constant"], *self.kinds["weight"])}
        self.given |= {name: self.buffers[name][0] for name in self.kinds["state"]}
        self.given |= {name: self._part(graph.leaves[name]) for name in self.kinds["part"]}
        c = self.capacity
        pages = (np.arange(c.sequences * c.max_pages, dtype=np.int32) % c.pages).reshape(c.sequences, c.max_pages)
        self.buffers["pages"] = pages, pages.shape
        self.memory = Run(c, {}, pages)

    def _leaf(self, leaf, weights: Weights) -> np.ndarray:
        if leaf.kind == "constant":
            return np.array(leaf.values, np.float32).astype(self.dtype)
        *rows, columns = leaf.tensor.shape
        kind, raw = weights(leaf.tensor.name)
        return dequantize(kind, raw, prod(rows), columns).reshape(leaf.tensor.shape).astype(self.dtype)

    def _part(self, leaf) -> np.ndarray:
        """A view: what an op writes there, the state holds."""
        values = self.buffers[leaf.state][0].reshape(-1)
        return values[leaf.offset : leaf.offset + prod(leaf.tensor.shape)].reshape(leaf.tensor.shape)

    def _zeros(self, tensor) -> tuple[np.ndarray, tuple]:
        shape = tuple(self.most.get(s, s) for s in tensor.shape)
        return np.zeros(shape, self.dtype if tensor.dtype == "f32" else DTYPES[tensor.dtype]), tensor.shape

    async def run(self, **slots: int) -> None:
        """Every op once, in order."""
        self.memory.sizes = self._sizes(slots)
        values = dict(self.given)
        for name in self.kinds["input"]:
            values[name] = await self.read(name)
        for node in self.order:
            inputs = {port: values[t.name] if t else None for port, t in node.inputs.items()}
            values[node.output.name] = OPS[node.op].reference()(self.memory, **inputs, **node.attributes)
        for name, tensor in self.graph.outputs.items():
            self.buffers[name][0][: len(values[tensor.name])] = values[tensor.name]
