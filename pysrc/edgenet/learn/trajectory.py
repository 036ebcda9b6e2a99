"""TrajectoryBuffer: what was tried, how long it took, and statistics over it. Runs anywhere.

improvement = baseline / execution - 1, so 1 means twice as fast; success = improvement > 0; quality = (improvement + 1) / 2 within 0..1,
so 0.5 means as fast as the baseline. Statistics run over all records ever made, `high_quality_count` over those still held.
"""

from __future__ import annotations

import math

import numpy as np

from .scoped import scope
from .vectors import integer, number, vector


def improvement(execution_ms: float, baseline_ms: float) -> float:
    """baseline / execution - 1; 0 when nothing was measured (execution 0)."""
    return baseline_ms / execution_ms - 1 if execution_ms > 0 else 0.0


def quality(gain: float) -> float:
    """An improvement as a number in 0..1."""
    return min(max((gain + 1) / 2, 0.0), 1.0)


class TrajectoryBuffer:
    """A ring of `capacity` records with embeddings of `embedding_dim` numbers."""

    def __init__(self, capacity: int = 1000, embedding_dim: int = 256):
        self.capacity = integer(capacity, "capacity", 1, 1 << 20)
        self._dim = integer(embedding_dim, "embedding_dim", 1, 1 << 16)
        self.reset()

    def reset(self) -> None:
        """Forget all records and statistics."""
        self._embeddings = np.zeros((self.capacity, self._dim), np.float32)
        self._records = np.zeros((self.capacity, 4))  # operator, attention, execution ms, baseline ms
        self._total = self._successes = 0
        self._mean = self._m2 = 0.0
        self._best, self._best_attention = -math.inf, 0

    def record(self, embedding, op_type: int, attention_type: int, execution_ms: float, baseline_ms: float) -> None:
        """Keep one trial; the oldest goes when the ring is full. Times in milliseconds, >= 0.

        Raises UnknownScope, WrongLength, NotFinite, InvalidOption (attention outside 0..255, negative time); then nothing was kept.
        """
        x = vector(embedding, self._dim, "embedding")
        row = (
            scope(op_type),
            integer(attention_type, "attention_type", 0, 255),
            number(execution_ms, "execution_ms", 0),
            number(baseline_ms, "baseline_ms", 0),
        )
        slot = self._total % self.capacity
        self._embeddings[slot], self._records[slot] = x, row
        self._count(improvement(row[2], row[3]), row[1])

    def _count(self, gain: float, attention: int) -> None:
        # Welford 1962: mean and squared deviations in one pass, without cancellation
        self._total += 1
        self._successes += gain > 0
        before = gain - self._mean
        self._mean += before / self._total
        self._m2 += before * (gain - self._mean)
        if gain > self._best:
            self._best, self._best_attention = gain, attention

    def success_rate(self) -> float:
        """Share of records that beat their baseline; 0 when there are none."""
        return self._successes / self._total if self._total else 0.0

    def best_improvement(self) -> float:
        """The largest improvement ever, also when it is negative; -inf when there are no records."""
        return self._best

    def mean_improvement(self) -> float:
        """Mean improvement over all records ever; 0 when there are none."""
        return self._mean

    def variance(self) -> float:
        """Sample variance (n - 1) of the improvement; 0 for fewer than two records."""
        return self._m2 / (self._total - 1) if self._total > 1 else 0.0

    def best_attention(self) -> int:
        """The attention kind of the best record; 0 when there are none."""
        return self._best_attention

    def high_quality_count(self, threshold: float) -> int:
        """Held records whose quality is above `threshold` (0.5: faster than the baseline; 0.75: 50 % better)."""
        limit = number(threshold, "threshold")
        return sum(quality(improvement(r[2], r[3])) > limit for r in self._records[: len(self)])

    def count_by_operator(self, op_type: int) -> int:
        """Held records of one operator. Raises UnknownScope."""
        return int((self._records[: len(self), 0] == scope(op_type)).sum())

    def gradient(self, index: int) -> np.ndarray:
        """The direction a held record teaches, (embedding_dim,): its embedding, negated when it was no success. 0 is the oldest held."""
        slot = (self._total - len(self) + integer(index, "index", 0, len(self) - 1)) % self.capacity
        sign = 1 if improvement(*self._records[slot, 2:]) > 0 else -1
        return sign * self._embeddings[slot]

    def total_count(self) -> int:
        """Records ever made."""
        return self._total

    def is_empty(self) -> bool:
        """Whether nothing was recorded."""
        return self._total == 0

    def len(self) -> int:
        """Records held."""
        return len(self)

    def __len__(self) -> int:
        return min(self._total, self.capacity)

    def free(self) -> None:
        """Give the arrays back."""
        self._embeddings, self._records = np.zeros((0, self._dim), np.float32), np.zeros((0, 4))
