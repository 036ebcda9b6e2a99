"""How good a ranking is, in the figures that EdgeNet promises by: rank, mean reciprocal rank, bootstrap interval.

Pure NumPy, any host."""

import numpy as np


def ranks(queries, passages, targets):
    """Return the rank (int64, n; 1 is best) of each query's target among all passages.

    queries  float (n, d), unit rows       passages  float (p, d), unit rows       targets  int (n,), rows of passages
    A passage that scores the same as the target does not push it down: equal texts share a rank.
    """
    scores = np.asarray(queries) @ np.asarray(passages).T
    own = np.take_along_axis(scores, np.asarray(targets)[:, None], axis=1)
    return 1 + (scores > own + 1e-6).sum(axis=1)


def mrr(queries, passages, targets):
    """Return the mean reciprocal rank (0 to 1) of the targets; arguments as for `ranks`."""
    return float(np.mean(1.0 / ranks(queries, passages, targets)))


def bootstrap_interval(values, rounds=2000, level=0.95, seed=0):
    """Return (low, high): the percentile bootstrap interval of the mean of `values`.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. Deterministic for a seed. Resampled are
    the values given: pass one value per independent thing (a query, not a query in each split)."""
    values = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(0, len(values), size=(rounds, len(values)))
    tail = (1 - level) / 2
    low, high = np.quantile(values[picks].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)
