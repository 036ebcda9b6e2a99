"""What a course's losses tell in two numbers. Runs anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

Point = tuple[int, float]  # step, loss
MOST = 10  # steps whose mean stands for the first or the last loss


def perplexity(loss: float) -> float:
    """Of a mean loss in nats a token; finite for every loss."""
    return math.exp(min(loss, 700.0))


def ends(losses: Sequence[Point], validations: Sequence[Point]) -> tuple[float | None, float | None]:
    """The losses (before, after): of validation the first and the lowest, whose parameters the adapter has; without it the means of the
    first and the last steps, ten of each or half of all. Before is None where the beginning was not seen, both where nothing was.
    """
    if validations:
        (step, first), after = validations[0], min(loss for _, loss in validations)
        return None if step else first, after
    if not losses:
        return None, None
    few = max(1, min(MOST, len(losses) // 2))
    before, after = (fmean(loss for _, loss in part) for part in (losses[:few], losses[-few:]))
    return before if losses[0][0] == 1 else None, after
