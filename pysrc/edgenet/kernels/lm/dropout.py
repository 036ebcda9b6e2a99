"""Reference and cases of dropout, whose mask is a function of seed, site, step and place. Runs anywhere with NumPy.

Dropout: Srivastava et al. 2014. The noise is Philox4x32-10 of the key (seed low, seed high), the counter (element / 4, stream, step, 0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..codes import INVALID_PARAMS, OK
from .cases import Case, normal, with_value
from .sample import philox

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]


def kept(count: int, seeds: np.ndarray, rate: float, stream: int) -> np.ndarray:
    """bool (count,): which elements stay."""
    low, high, step, _ = (int(s) for s in seeds)
    counters = np.arange(-(-count // 4), dtype=np.uint64)
    words = np.stack(
        np.broadcast_arrays(*philox((low, high), (counters, stream & 0xFFFFFFFF, step, 0))), axis=1
    ).ravel()[:count]
    return (words >> np.uint64(8)) / 2**24 >= np.float64(np.float32(rate))


def dropout(v: Values) -> Outcome:
    """y (n, d) = x / (1 - rate) where kept, else x * 0."""
    n, d, rate = v["n"], v["d"], float(v["rate"])
    if n < 0 or d <= 0 or not 0 <= rate < 1:
        return INVALID_PARAMS, {}
    mask = kept(n * d, v["seeds"], rate, v["stream"]).reshape(n, d)
    return OK, {"y": (np.asarray(v["x"], np.float64) * mask / (1 - rate)).astype(np.float32)}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(reason: str, n: int, d: int, rate: float, stream: int = 3, seeds=(7, 9, 11, 0), **more: Any) -> Case:
        values = {"x": normal(rng, n, d), "seeds": np.array(seeds, np.uint32), "n": n, "d": d}
        return Case("dropout", reason, values | {"rate": np.float32(rate), "stream": stream} | more)

    for n, d in ((0, 3), (1, 1), (3, 5), (5, 64), (3, 331)):
        yield case(f"{n} x {d}", n, d, 0.25)
    yield case("nothing is dropped", 2, 33, 0)
    yield case("nearly all is dropped", 2, 333, 0.99)
    yield case("the largest seeds and stream", 3, 9, 0.5, -1, (2**32 - 1, 2**32 - 1, 2**32 - 1, 0))
    yield case("NaN stays, dropped or not", 1, 16, 0.5, x=with_value(np.ones((1, 16), np.float32), 5, np.nan))
    for rate in (1, -0.1, np.nan):
        yield case(f"a rate of {rate}", 1, 4, rate)
    yield case("no width", 2, 0, 0.5)
