"""Merging that looks at single weights: TIES (Yadav et al. 2023) and DARE (Yu et al. 2023), one module at a time. NumPy; runs anywhere.

A module's deltas are cut (TIES: the largest by size stay; DARE: a random share stays, made larger to match) and joined (summed, or the mean
of those that agree with the elected sign). Only the result is dense; the deltas pass by in tiles of rows, made from their factors.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from .low_rank import Factors, tiles

Cut = Callable[[slice, np.ndarray], np.ndarray]  # (rows, the delta's rows f32) → the same, some of them 0
Join = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (cut deltas f32 (n, rows, in), weights f32 (n,)) → (rows, in)


def joined(deltas: Sequence[Factors], cuts: Sequence[Cut], join: Join, weights: Sequence[float]) -> np.ndarray:
    """The merged delta, dense f32 (out, in): each delta cut by its own `cut`, then joined. `weights` sum to 1."""
    merged, shares = np.empty(deltas[0].shape, np.float32), np.array(weights, np.float32)
    for rows in tiles(merged.shape):
        parts = [cut(rows, delta.rows(rows)) for delta, cut in zip(deltas, cuts, strict=True)]
        merged[rows] = join(np.stack(parts), shares)
    return merged


# --- cuts
def trimming(delta: Factors, density: float) -> Cut:
    """Keeps the `density` share of a delta's weights that is largest by size, and all that are as large as the least of them."""
    least = _kth_largest(delta, density)
    return lambda rows, part: np.where(np.abs(part) >= least, part, np.float32(0))


def dropping(mask: Callable[[slice], np.ndarray], density: float) -> Cut:
    """Keeps the weights where `mask(rows)`, bool (rows, in), is true, divided by `density`, the share that is expected to stay."""
    return lambda rows, part: np.divide(part, np.float32(density), out=np.zeros_like(part), where=mask(rows))


def random_mask(seed: Sequence[int], density: float, width: int, rows: slice) -> np.ndarray:
    """Bool (rows, width), each true with probability `density`; the same for the same seed and rows."""
    draw = np.random.default_rng([*seed, rows.start])
    return draw.random((rows.stop - rows.start, width), np.float32) < density


def _kth_largest(delta: Factors, density: float) -> float:
    """The size of the least weight that stays. Makes the one dense matrix of sizes, and frees it."""
    sizes = np.empty(delta.shape, np.float32)
    for rows in tiles(delta.shape):
        np.abs(delta.rows(rows), out=sizes[rows])
    sizes = sizes.reshape(-1)
    at = sizes.size - max(1, int(density * sizes.size))
    sizes.partition(at)
    return sizes[at]


# --- joins
def summed(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted sum."""
    return np.tensordot(weights, parts, 1)


def agreeing(measure: Callable, parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean of the values whose sign is the elected one, that of the sum of `measure(parts)`; a tie elects plus.

    Values are multiplied by their weight over the mean weight, so equal weights change nothing; the mean is over how many agree.
    """
    sign = np.where(measure(parts).sum(axis=0) >= 0, np.float32(1), np.float32(-1))
    agree = np.sign(parts) == sign
    total = np.tensordot(weights * np.float32(len(weights)), np.where(agree, parts, np.float32(0)), 1)
    return total / np.maximum(agree.sum(axis=0), 1).astype(np.float32)


ELECTIONS: dict[str, Join] = {
    "total": partial(agreeing, lambda parts: parts),  # the sign with more mass
    "frequency": partial(agreeing, np.sign),  # the sign that more of them have
}
