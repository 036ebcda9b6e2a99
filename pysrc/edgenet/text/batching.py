"""Which texts go through the model together. Pure, runs anywhere; the same rule as `web/engine/batching.js`.

Texts are sorted by length and cut into batches so that a run's fixed cost and the padding of unequal lengths add up to the least
(dynamic programming over the sorted lengths).
"""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_TOKENS = 512  # per batch, padding included: a fraction of a second, so that a cancel is heard soon
_RUN_COST = 3  # what a run costs beyond its tokens, in tokens


@dataclass(frozen=True)
class Batch:
    """`rows` are indices into the lengths; every row is padded to `length` tokens."""

    rows: tuple[int, ...]
    length: int


def plan_batches(lengths: Sequence[int], most_tokens: int = MOST_TOKENS) -> list[Batch]:
    """Every index once, the longest texts last. rows x length <= `most_tokens`, unless one row alone is longer."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    start = _cheapest_cuts([lengths[i] for i in order], most_tokens)
    batches, end = [], len(order)
    while end:
        batches.append(Batch(tuple(order[start[end] : end]), lengths[order[end - 1]]))
        end = start[end]
    return batches[::-1]


def _cheapest_cuts(lengths: list[int], most: int) -> list[int]:
    """For each end of a sorted list, where its last batch begins in the cheapest partition."""
    cost, cut = [0.0] * (len(lengths) + 1), [0] * (len(lengths) + 1)
    for end, length in enumerate(lengths, 1):
        first = max(0, min(end - 1, end - most // max(length, 1)))
        cost[end], cut[end] = min((cost[i] + _RUN_COST + (end - i) * length, -i) for i in range(first, end))
        cut[end] = -cut[end]
    return cut
