"""Training's randomness: Philox4x32-10 of (seed, what it is for, which time), so that any step can be drawn again alone. Runs anywhere.

The kernels' dropout has counters that end in 0; these end in 1, so no two draws share a number.
"""

from __future__ import annotations

import numpy as np

from ..kernels.lm.sample import philox

VALIDATION, ORDER, MASK, START = range(4)  # what a draw is for


def words(seed: int, purpose: int, time: int, count: int) -> np.ndarray:
    """u32 (count,)."""
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    drawn = philox((seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF), (blocks, purpose, time, np.ones_like(blocks)))
    return np.stack(drawn, axis=1).ravel()[:count].astype(np.uint32)


def uniform(seed: int, purpose: int, time: int, count: int) -> np.ndarray:
    """f32 (count,) in [0, 1): 24 bits each."""
    return (words(seed, purpose, time, count) >> 8).astype(np.float32) * np.float32(2**-24)


def permutation(seed: int, purpose: int, time: int, count: int) -> np.ndarray:
    """The numbers below `count` in an order drawn."""
    return np.argsort(words(seed, purpose, time, 2 * count).view("<u8"), kind="stable")
