"""Where the states of a graph lie in a Program's memory: one after another, in the order of their leaves. Runs anywhere.

Programs compiled from graphs with the same states in the same order agree on every place, so that one engine can share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from ..kernels.lm.interpreter import align
from .data import Leaf, Tensor


class States:
    """`size`: bytes of all states together; `ranges`: (first byte, byte behind the last) of each state and part, by name."""

    def __init__(self, leaves: Mapping[str, Leaf]):
        self.size, self.ranges = 0, {}
        self.tensors = {name: leaf.tensor for name, leaf in leaves.items() if leaf.kind == "state"}
        for name, tensor in self.tensors.items():
            self.ranges[name] = self.size, self.size + _bytes(tensor)
            self.size = align(self.size + _bytes(tensor))
        for name, leaf in leaves.items():
            if leaf.kind == "part":
                first = self.ranges[leaf.state][0] + 4 * leaf.offset
                self.ranges[name] = first, first + _bytes(leaf.tensor)

    def offset(self, name: str) -> int:
        """The first byte of a state or part."""
        return self.ranges[name][0]


def _bytes(tensor: Tensor) -> int:
    return 4 * prod(tensor.shape)
