"""Bits per byte of plain compressors and of a byte n-gram model, for comparison. Standard library and NumPy."""

import gzip
import lzma

import numpy as np

PRESET = 9 | lzma.PRESET_EXTREME


def bits_per_byte(size: int, of: int) -> float:
    return 8 * size / of


def gzip_bits(held: bytes) -> float:
    return bits_per_byte(len(gzip.compress(held, 9)), len(held))


def xz_bits(held: bytes, primer: bytes = b"") -> float:
    """`xz -9e` of `held`; with a primer, what it adds to the primer's own size (the dictionary holds both whole)."""
    before = len(lzma.compress(primer, preset=PRESET)) if primer else 0
    return bits_per_byte(len(lzma.compress(primer + held, preset=PRESET)) - before, len(held))


def grams(data: bytes, order: int) -> np.ndarray:
    """For each byte after the first `order`: its context and itself as one integer, (n - order,) uint64."""
    row = np.frombuffer(data, np.uint8).astype(np.uint64)
    keys = np.zeros(len(row) - order, np.uint64)
    for i in range(order + 1):
        keys = (keys << np.uint64(8)) | row[i : len(row) - order + i]
    return keys


def counts_of(sorted_keys, counts, wanted):
    """Counts of `wanted` keys, 0 where they do not occur."""
    at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.where(sorted_keys[at] == wanted, counts[at], 0)


def ngram_bits(train: bytes, held: bytes, order: int = 5) -> float:
    """An order-n byte model of `train`, interpolated by Witten and Bell's rule (1991, method C), on `held`; not adaptive.

    p_k = (count + distinct * p_(k-1)) / (total + distinct), from the uniform distribution up.
    """
    p = np.full(len(held) - order, 1 / 256)
    for k in range(order + 1):
        keys, counts = np.unique(grams(train, k), return_counts=True)
        contexts, first = np.unique(keys >> np.uint64(8), return_index=True)
        totals, distinct = np.add.reduceat(counts, first), np.diff(np.append(first, len(keys)))
        wanted = grams(held, k)[order - k :]
        total = counts_of(contexts, totals, wanted >> np.uint64(8))
        kinds = counts_of(contexts, distinct, wanted >> np.uint64(8))
        seen = counts_of(keys, counts, wanted)
        p = np.where(total > 0, (seen + kinds * p) / np.maximum(total + kinds, 1), p)
    return float(-np.log2(p).mean())
