"""Where the buffers of a Program lie, and in which phase each of its kernels runs. Runs anywhere; imports no NumPy.

First phases, from what each kernel touches; then results that take the bytes of an input; then places, by lifetimes counted in phases.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ..kernels.lm.interpreter import align
from ..kernels.lm.layouts import quantized_bytes
from ..kernels.lm.table import MAX_THREADS, op
from .capacity import Capacity
from .data import Node, Tensor
from .fusion import INOUT
from .schedule import IN_PLACE, Access, Life, phases, place
from .states import States

STORES = ("kv_store", "rope_kv")
NOTHING = ("kv", "none")  # dtypes of results that are no arrays: their ops change a cache or a state
# Up to so many rows every thread quantises all of them for itself, which costs less than a barrier; more are split between threads.
PRIVATE_ROWS = 64


def stride(tensor: Tensor, capacity: Capacity) -> int:
    """Bytes between the threads' copies of quantised rows; 0 where there is one for all."""
    if tensor.dtype != "q8":
        return 0
    rows = capacity.slots.get(tensor.shape[0], tensor.shape[0])
    return align(quantized_bytes(rows, tensor.shape[1])) if rows <= PRIVATE_ROWS else 0


def size(tensor: Tensor, capacity: Capacity) -> int:
    """Bytes at the largest legal sizes, of all copies."""
    shape = [capacity.slots.get(s, s) for s in tensor.shape]
    if tensor.dtype == "q8":
        return MAX_THREADS * stride(tensor, capacity) or quantized_bytes(*shape)
    return 4 * prod(shape)


class Plan:
    """The plan of a list of kernels. `inputs`: what the host writes, kept for good; `outputs`: kept to the end; `scratch`: bytes by the
    name of a kernel's result; `states`: what lies outside the arena. `phases` has one number per kernel; `peak` is the arena's bytes.
    """

    def __init__(
        self,
        nodes: list[Node],
        capacity: Capacity,
        inputs: Iterable[Tensor],
        outputs: Iterable[Tensor],
        scratch: dict[str, int],
        states: States,
    ):
        self.nodes, self.capacity, self.scratch, self.states = nodes, capacity, scratch, states
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.storage: dict[str, str] = {}  # result of a kernel -> the buffer it lies in
        for node in nodes:
            over = node.inputs[INOUT[node.op]].name if node.op in INOUT else node.output.name
            self.storage[node.output.name] = self.storage.get(over, over)
        self.phases = phases(map(self._accesses, nodes))
        self._reuse_inputs()
        self.offsets, self.peak = place(self._lives())

    def offset(self, tensor: Tensor) -> int:
        """The tensor's first byte in the arena."""
        return self.offsets[self.storage.get(tensor.name, tensor.name)]

    def scratch_offset(self, node: Node) -> int:
        """The first byte of the node's scratch."""
        return self.offsets[_scratch(node)]

    def _accesses(self, node: Node) -> list[Access]:
        found = [self._input(node, port, t) for port, t in node.inputs.items() if t and t.dtype != "kv"]
        if "layer" in node.attributes:
            found.append(Access(f"kv.{node.attributes['layer']}", node.op in STORES))
        if node.output.name in self.scratch:
            found.append(Access(_scratch(node), True))
        if node.output.dtype not in NOTHING:
            found.append(Access(self.storage[node.output.name], True, stride(node.output, self.capacity) > 0))
        return found

    def _input(self, node: Node, port: str, tensor: Tensor) -> Access:
        if tensor.name not in self.states.ranges:
            return Access(self.storage.get(tensor.name, tensor.name), False, stride(tensor, self.capacity) > 0)
        changed = op(node.op).arg(port).kind == "inout"
        return Access("state", changed, False, *self.states.ranges[tensor.name])

    def _reuse_inputs(self) -> None:
        """Results take the bytes of an input that nothing else needs from this phase on."""
        uses: dict[str, list[tuple[Node, int]]] = {}
        for node, phase in zip(self.nodes, self.phases, strict=True):
            for access in self._accesses(node):
                uses.setdefault(access.storage, []).append((node, phase))
        fixed = {t.name for t in (*self.inputs, *self.outputs)}
        for node, phase in zip(self.nodes, self.phases, strict=True):
            for port in IN_PLACE.get(node.op, ()):
                tensor = node.inputs.get(port)
                if tensor is None or tensor.name in fixed or tensor.name not in self.storage:
                    continue
                old, new = self.storage[tensor.name], self.storage[node.output.name]
                if old != new and self._is_free(node, old, [p for n, p in uses[old] if n is not node], phase):
                    self.storage = {t: old if s == new else s for t, s in self.storage.items()}
                    uses[old] += uses.pop(new)
                    break

    def _is_free(self, node: Node, storage: str, other_uses: list[int], phase: int) -> bool:
        """Whether the node may write over a buffer: all others are done with it, and itself reads it only where it may."""
        read_as = {port for port, t in node.inputs.items() if t and self.storage.get(t.name) == storage}
        return max(other_uses, default=-1) < phase and read_as <= set(IN_PLACE[node.op])

    def _lives(self) -> dict[str, Life]:
        end = self.phases[-1]
        sizes = {n.output.name: size(n.output, self.capacity) for n in self.nodes if n.output.dtype not in NOTHING}
        sizes |= {_scratch(n): self.scratch[n.output.name] for n in self.nodes if n.output.name in self.scratch}
        lives: dict[str, Life] = {}
        for node, phase in zip(self.nodes, self.phases, strict=True):
            for access in self._accesses(node):
                if access.storage in sizes:
                    lives.setdefault(access.storage, Life(sizes[access.storage], phase, phase)).last = phase
        for tensor in self.inputs:  # the host may write once and run many times
            lives[tensor.name] = Life(size(tensor, self.capacity), 0, end)
        for tensor in self.outputs:
            lives[self.storage[tensor.name]].last = end
        return lives


def _scratch(node: Node) -> str:
    return f"{node.output.name}.scratch"
