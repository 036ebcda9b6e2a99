"""Which results of the forward pass the backward pass keeps, and which it computes again (Chen et al. 2016). Runs anywhere."""

from __future__ import annotations

from typing import Any

from .data import Node, Tensor
from .graph import Graph

CHEAP_TO_KEEP = ("token_stats", "cross_entropy")  # a few numbers per row, made of all logits


class Backward(Graph):
    """A graph as gradient rules see it: they read results of the forward pass as if all were there. Those not in `keep` (None: all are
    kept) are computed again from those that are, just before the first op that reads them, each once: a kept tensor between two
    layers makes each layer a segment of its own. The nodes go into the graph itself.
    """

    def __init__(self, graph: Graph, keep: set[str] | None):
        vars(self).update(vars(graph))
        gone = (
            [] if keep is None else [n for n in graph.nodes if n.output.name not in keep and n.op not in CHEAP_TO_KEEP]
        )
        self.gone: dict[str, Node] = {n.output.name: n for n in gone}
        self.again: dict[str, Tensor] = {}

    def _append(self, op: str, ports: dict[str, Tensor | None], **attributes: Any) -> Tensor:
        for tensor in filter(None, ports.values()):
            self._compute(tensor)
        return super()._append(op, self._present(ports), **attributes)

    def _compute(self, tensor: Tensor) -> None:
        missing: set[str] = set()
        waiting = [tensor]
        while waiting:
            name = waiting.pop().name
            if name in self.gone and name not in self.again and name not in missing:
                missing.add(name)
                waiting += filter(None, self.gone[name].inputs.values())
        for name, node in self.gone.items() if missing else ():
            if name in missing:
                self.again[name] = super()._append(node.op, self._present(node.inputs), **node.attributes)

    def _present(self, ports: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
        """The ports with tensors that are there."""
        return {port: t and self.again.get(t.name, t) for port, t in ports.items()}
