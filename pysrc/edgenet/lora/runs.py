"""One run of a Program that gives losses: what training and evaluation share. Needs NumPy; runs anywhere."""

from __future__ import annotations

import numpy as np

from ..run import Engine
from .data import Row

_INPUTS = ("tokens", "sequences", "positions", "targets", "weights")


async def losses(engine: Engine, row: Row, program: str) -> float:
    """The sum of the losses of one run of `train` or `evaluate`, or of a Program like them."""
    for name in _INPUTS:
        await engine.write(name, getattr(row, name), program=program)
    await engine.run(program=program, n=len(row), s=row.last_sequence + 1)
    return float(np.sum(await engine.read("losses", program=program), dtype=np.float64))
