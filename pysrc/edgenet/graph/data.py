"""What a graph is made of: tensors, leaves, nodes, and their order. Runs anywhere; imports no NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import InvalidGraph
from .ops import OPS
from .sizes import Shape


@dataclass(frozen=True)
class Tensor:
    """A value in a graph: its unique name, its shape, and f32, i32, u32, the type of a file's weight, or what an op that only changes
    memory gives: kv (a cache), none.
    """

    name: str
    shape: Shape
    dtype: str


class Leaf(NamedTuple):
    """A tensor that no op makes. `kind`: input, weight, constant, state or part; `values`: a constant's numbers; `state`, `offset`: of
    what a part is a view, from which value on.
    """

    kind: str
    tensor: Tensor
    values: tuple[float, ...] = ()
    state: str = ""
    offset: int = 0


@dataclass(frozen=True)
class Node:
    """One op: input tensors by port (None: left out), attributes, its result, and the source line that built it."""

    op: str
    inputs: dict[str, Tensor | None]
    attributes: dict[str, Any]
    output: Tensor
    where: str = field(default="", compare=False)


class GraphData:
    """Leaves and nodes in the order they were appended, all tensors and the outputs by name."""

    def __init__(self, name: str):
        self.name = name
        self.nodes: list[Node] = []
        self.leaves: dict[str, Leaf] = {}
        self.tensors: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}

    def order(self) -> list[Node]:
        """The ops that outputs, caches and states need, each after those it reads from; what changes a state comes in the order it was
        appended. Raises InvalidGraph for a cycle.
        """
        makers = {node.output.name: node for node in self.nodes}
        wanted = [t.name for t in self.outputs.values()] + [n.output.name for n in self.nodes if OPS[n.op].effect]
        needed: set[str] = set()
        while wanted:
            name = wanted.pop()
            if name in makers and name not in needed:
                needed.add(name)
                wanted += [t.name for t in makers[name].inputs.values() if t]
        waiting = [n for n in self.nodes if n.output.name in needed]
        return _sorted(waiting, set(needed))


def _sorted(waiting: list[Node], unmade: set[str]) -> list[Node]:
    """The nodes, stable, each after the makers of what it reads; `unmade` holds the results still to come."""
    done: list[Node] = []
    while waiting:
        later = []
        for node in waiting:
            if any(t and t.name in unmade for t in node.inputs.values()):
                later.append(node)
            else:
                unmade.discard(node.output.name)
                done.append(node)
        if len(later) == len(waiting):
            names = ", ".join(n.output.name for n in later[:4])
            raise InvalidGraph(f"The ops {names} wait for one another: a graph has no cycles.")
        waiting = later
    return done
