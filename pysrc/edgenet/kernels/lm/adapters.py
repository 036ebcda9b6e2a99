"""Reference and cases of adapters of LoRA beside a frozen matrix, out of a pool of many: f64, rounded once. Runs anywhere with NumPy.

LoRA: Hu et al. 2021; many adapters in one batch: Sheng et al. 2023 (S-LoRA).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..codes import INVALID_INPUT, INVALID_PARAMS, OK
from .cases import Case, normal, with_value
from .table import MAX_RANK

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]


def _factor(v: Values, offset: int, shape: tuple[int, int]) -> np.ndarray | None:
    """A factor of the pool, None where it does not lie in it."""
    end = offset + shape[0] * shape[1]
    return np.asarray(v["pool"][offset:end], np.float64).reshape(shape) if 0 <= offset <= end <= v["values"] else None


def adapters(v: Values) -> Outcome:
    """y (n, out) + sum over slots of mix[row, slot] * (x A') B'."""
    if min(v["n"], v["values"]) < 0 or min(v["in"], v["out"], v["slots"]) <= 0 or not 0 <= v["site"] < v["sites"]:
        return INVALID_PARAMS, {}
    x, y = (np.asarray(v[name], np.float64) for name in ("x", "y"))
    for slot, (at_a, at_b, rank, _) in enumerate(v["table"][v["site"]].tolist()):
        if rank == 0:
            continue
        if not 0 < rank <= MAX_RANK:
            return INVALID_INPUT, {}
        a, b = _factor(v, at_a, (rank, v["in"])), _factor(v, at_b, (v["out"], rank))
        if a is None or b is None:
            return INVALID_INPUT, {}
        rows = v["mix"][:, slot] != 0
        y[rows] += v["mix"][rows, slot, None].astype(np.float64) * (x[rows] @ a.T @ b.T)
    return OK, {"y": y.astype(np.float32)}


def _filled(ranks: list[list[int]], wide: int, out: int) -> tuple[np.ndarray, int]:
    """(table (sites, slots, 4), values of a pool that holds these ranks by site and slot)."""
    table, end = np.zeros((len(ranks), len(ranks[0]), 4), np.int32), 0
    for place in np.ndindex(table.shape[:2]):
        rank = ranks[place[0]][place[1]]
        table[place] = [end, end + rank * wide, rank, 0]
        end += rank * (wide + out)
    return table, end


def _case(
    rng: np.random.Generator, reason: str, ranks: list[list[int]], mix: list, wide: int, out: int, **more
) -> Case:
    (table, size), n = _filled(ranks, wide, out), len(mix)
    values = {"x": normal(rng, n, wide), "pool": normal(rng, size), "table": table, "y": normal(rng, n, out)}
    values |= {"mix": np.array(mix, np.float32), "n": n, "in": wide, "out": out, "site": len(ranks) - 1}
    return Case("adapters", reason, values | {"sites": len(ranks), "slots": len(ranks[0]), "values": size} | more)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield _case(rng, "no rows", [[4]], np.zeros((0, 1)), 8, 8)
    yield _case(rng, "one row, one slot", [[1]], [[1]], 1, 1)
    yield _case(rng, "no row wants one", [[4, 2]], [[0, 0], [0, 0]], 9, 5)
    rows = [[1, 0, 0], [0, 0.5, 0], [0.25, -2, 1], [0, 0, 0]]
    yield _case(rng, "rows that want others, some or none; unequal ranks", [[2, 4, 1], [4, 3, 16]], rows, 33, 17)
    yield _case(rng, "slots without an adapter", [[0, 5]], [[1, 1], [1, 0]], 64, 12)
    yield _case(rng, "the largest rank", [[MAX_RANK]], [[0.1]], 20, 7)
    yield _case(rng, "a mix of NaN", [[3, 3]], [[np.nan, 0], [0, 1]], 8, 6)
    good = _case(rng, "", [[2, 4], [4, 3]], [[1, 0], [0.5, 1]], 12, 10).values
    yield Case("adapters", "NaN spoils the rows that use it", good | {"x": with_value(good["x"], 3, np.nan)})
    huge = 2**31 - 1
    for reason, at, value in (
        ("A ends behind the pool", 0, good["values"] - 47),
        ("A begins before the pool", 0, -1),
        ("B ends behind the pool", 1, good["values"] - 39),
        ("an offset that would overflow", 1, huge),
        ("a negative rank", 2, -1),
        ("rank 257", 2, 257),
        ("a rank that would overflow", 2, huge),
    ):
        yield Case("adapters", reason, good | {"table": with_value(good["table"], 8 + at, value)})
    foreign = with_value(good["table"], 0, huge)
    yield Case("adapters", "another site's entries do not matter", good | {"table": foreign})
    for reason, change in (("a site that is not there", {"site": 2}), ("a negative site", {"site": -1})):
        yield Case("adapters", reason, good | change)
