"""Matrices of low rank: products of factors, and the best factors of a sum of them or of one dense matrix. NumPy; runs anywhere.

A sum never becomes dense: QR of both stacks of factors and an SVD of their small core give its best truncation (Eckart & Young 1936).
A dense matrix is refitted by a randomised SVD (Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1).
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from ..errors import NotFinite

OVERSAMPLE, POWER = 10, 3  # extra directions and power iterations of the randomised SVD
TILE = 1 << 16  # weights that work on rows of a dense matrix takes at once


class Factors(NamedTuple):
    """The matrix `scale * B @ A` of shape (out, in): A f32 (rank, in), B f32 (out, rank)."""

    A: np.ndarray
    B: np.ndarray
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.B), self.A.shape[1]

    def rows(self, part: slice) -> np.ndarray:
        """These rows of the matrix, f32 (rows, in). The same rows asked for again are the same bits. Raises NotFinite."""
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.float32(self.scale) * (self.B[part] @ self.A)
        _require_finite(np.isfinite(found).all())
        return found


class Refit(NamedTuple):
    """Factors that stand for a matrix: its Frobenius norm, and that of what they leave out."""

    factors: Factors
    norm: float
    error: float

    @property
    def relative(self) -> float:
        """The error's share of the norm; 0 for a matrix of zeros."""
        return self.error / self.norm if self.norm else 0.0


def nothing(shape: tuple[int, int]) -> Factors:
    """The factors, of rank 0, of an (out, in) matrix of zeros."""
    return Factors(np.zeros((0, shape[1]), np.float32), np.zeros((shape[0], 0), np.float32))


def tiles(shape: tuple[int, int], weights: int = TILE) -> Iterator[slice]:
    """Runs of rows that together are all of an (out, in) matrix, each about so many weights."""
    step = max(1, weights // shape[1])
    return (slice(first, min(first + step, shape[0])) for first in range(0, shape[0], step))


def inner(f: Factors, g: Factors) -> float:
    """The inner product of two flattened matrices, from the Gram matrices (rank × rank) of their factors."""
    return f.scale * g.scale * float(np.sum((_f64(f.B).T @ _f64(g.B)) * (_f64(f.A) @ _f64(g.A).T)))


def distance(f: Factors, g: Factors) -> float:
    """The Frobenius norm of their difference. What is left of equal matrices, 1e-8 of their own norms or less, is rounding."""
    return math.sqrt(max(inner(f, f) - 2 * inner(f, g) + inner(g, g), 0))


def angle(f: Factors, g: Factors) -> float:
    """The angle between two flattened matrices in radians, 0 … pi; 0 where one of them is zero."""
    norms = math.sqrt(max(inner(f, f), 0) * max(inner(g, g), 0))
    return math.acos(min(1.0, max(-1.0, inner(f, g) / norms))) if norms else 0.0


def refit_sum(terms: Iterable[tuple[float, Factors]], rank: int) -> Refit:
    """The best factors of `rank` for the sum of `coefficient * matrix`; all matrices have one shape. Exact but for rounding."""
    terms = list(terms)
    B = np.hstack([c * f.scale * _f64(f.B) for c, f in terms])
    A = np.vstack([_f64(f.A) for _, f in terms])
    (left, core_b), (right, core_a) = np.linalg.qr(B), np.linalg.qr(A.T)
    u, sizes, v = np.linalg.svd(core_b @ core_a.T, full_matrices=False)
    # What cancels leaves rounding behind (D and -D); it is no direction of the sum.
    floor = np.finfo(np.float64).eps * B.shape[1] * np.linalg.norm(core_b) * np.linalg.norm(core_a)
    sizes[sizes <= floor] = 0
    kept = _balanced(left @ u[:, :rank], sizes[:rank], v[:rank] @ right.T, rank)
    return Refit(kept, float(np.linalg.norm(sizes)), float(np.linalg.norm(sizes[rank:])))


def refit_dense(dense: np.ndarray, rank: int, seed, *, oversample: int = OVERSAMPLE, power: int = POWER) -> Refit:
    """Nearly the best factors of `rank` for an f32 (out, in) matrix. `seed`: what `numpy.random.default_rng` takes. Raises NotFinite."""
    parts = list(tiles(dense.shape))
    norm = math.sqrt(sum(_energy(dense[part]) for part in parts))
    _require_finite(math.isfinite(norm))
    probes = min(rank + oversample, *dense.shape)
    found = dense @ np.random.default_rng(seed).standard_normal((dense.shape[1], probes), np.float32)
    for _ in range(power):
        found = dense @ _orthonormal(dense.T @ _orthonormal(found))
    base = _orthonormal(found)
    u, sizes, v = np.linalg.svd(base.T @ dense, full_matrices=False)
    kept = _balanced(base @ u[:, :rank], sizes[:rank], v[:rank], rank)
    return Refit(kept, norm, math.sqrt(sum(_energy(dense[part] - kept.rows(part)) for part in parts)))


def _balanced(left: np.ndarray, sizes: np.ndarray, right: np.ndarray, rank: int) -> Factors:
    """Factors of `left * sizes @ right`, both with the roots of the sizes; rows of zeros fill up to the rank."""
    root = np.sqrt(sizes)
    A, B = np.zeros((rank, right.shape[1]), np.float32), np.zeros((len(left), rank), np.float32)
    A[: len(root)], B[:, : len(root)] = root[:, None] * right, left * root
    return Factors(A, B)


def _require_finite(finite: bool) -> None:
    if not finite:
        raise NotFinite(
            "What an adapter, or all together, add to a weight is beyond f32: the factors or weights are too large."
        )


def _orthonormal(columns: np.ndarray) -> np.ndarray:
    return np.linalg.qr(columns)[0]


def _energy(values: np.ndarray) -> float:
    return float(np.square(values, dtype=np.float64).sum())


def _f64(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64)
