"""When threads must meet, and where buffers lie: phases by hazards, lifetimes in phases, greedy placement. Runs anywhere.

A phase is what runs between two barriers. Within a phase threads are at different instructions, so two buffers may share bytes only if
no phase uses both: thus reuse of memory never asks for a barrier of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..kernels.lm.interpreter import align

# A kernel may write its result over these inputs, each thread over just the elements it has read.
IN_PLACE = {
    "matmul": ("residual",),
    "add": ("x", "y"),
    "mul": ("x", "y"),
    "scale": ("x",),
    "softcap": ("x",),
    "activation": ("x",),
    "glu": ("gate", "up"),
    "matmul_f32": ("residual",),
    "matmul_t": ("residual",),
    "matmul_t_int8": ("residual",),
    "matmul_int8": ("residual",),
    "dense_t": ("residual",),
    "head_norm": ("x",),
    "rms_norm_grad": ("x", "dy"),
    "layer_norm_grad": ("x", "dy"),
    "activation_grad": ("x", "dy"),
    "softcap_grad": ("x", "dy"),
    "dropout": ("x",),
    "token_stats": ("before",),
    "cross_entropy_grad": ("logits",),
}
MAX_PENDING = 256  # arrays touched between two barriers that the judge, who compares each with all others, takes
MOST_PENDING = MAX_PENDING * 3 // 4  # accesses after which the compiler sets a barrier, before one more instruction


class Access(NamedTuple):
    """One instruction's use of a storage, or of its bytes from `start` to `end`. `private`: every thread touches only its own copy."""

    storage: str
    writes: bool
    private: bool = False
    start: int = 0
    end: int = 1 << 40


def conflict(a: Access, b: Access) -> bool:
    """Whether a thread in one instruction could meet another thread's data in the other."""
    if a.storage != b.storage or not (a.writes or b.writes) or (a.private and b.private):
        return False
    return a.start < b.end and b.start < a.end


def phases(steps: Iterable[list[Access]]) -> list[int]:
    """The phase of each instruction: a new one begins where an access conflicts with one since the last barrier."""
    phase, pending, result = 0, [], []
    for accesses in steps:
        if len(pending) > MOST_PENDING or any(conflict(a, b) for a in pending for b in accesses):
            phase, pending = phase + 1, []
        pending += accesses
        result.append(phase)
    return result


@dataclass
class Life:
    """A storage: its bytes, and the phases from `first` to `last` in which it holds what someone needs."""

    size: int
    first: int
    last: int

    def meets(self, other: Life) -> bool:
        """Whether some phase needs both."""
        return self.first <= other.last and other.first <= self.last


def place(lives: dict[str, Life]) -> tuple[dict[str, int], int]:
    """(offset of each storage, peak bytes): the largest first, each at the lowest place free through its whole life."""
    offsets: dict[str, int] = {}
    for name in sorted(lives, key=lambda n: (-lives[n].size, lives[n].first, n)):
        taken = sorted((offsets[o], offsets[o] + lives[o].size) for o in offsets if lives[o].meets(lives[name]))
        offset = 0
        for start, end in taken:
            if start - offset >= lives[name].size:
                break
            offset = max(offset, align(end))
        offsets[name] = offset
    return offsets, max((align(offsets[n] + lives[n].size) for n in lives), default=0)
