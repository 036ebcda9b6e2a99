"""Several adapters of one base made into one adapter, with the error of the refit; how: `strategies.py`. NumPy; runs anywhere."""

import math
from asyncio import sleep
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..errors import AdapterMismatch
from .adapter import Adapter, config_of
from .config import MOST_RANK
from .low_rank import Factors, Refit
from .strategies import STRATEGIES, Masks, MergeOptions, merge_modules

MOST_NAME = 100
Show = Callable[[int, int, str], None]  # (done, of how many, what was done last)


class Merged(NamedTuple):
    """The new adapter, and JSON data that tells how it came about.

    report: `strategy`, its options, `weights` as they counted, `rank` (the largest), `adapters` [{name, id, checksum}], and the relative
    Frobenius error of the refit: `error` of all modules together, `modules` {path: error}.
    """

    adapter: Adapter
    report: dict


async def merge(
    adapters: Sequence[Adapter],
    options: MergeOptions | None = None,
    *,
    name: str = "",
    show: Show = lambda done, total, module: None,
    masks: Masks | None = None,
) -> Merged:
    """One adapter out of several of the same base. Work is on what they add; a module that one lacks counts as zero there.

    Unequal ranks, scales and modules are welcome; what was refitted has the scale 1. Ends between two modules when it is cancelled or
    `show` raises.
    `masks` replaces what DARE draws. Raises AdapterMismatch for adapters of different bases, InvalidOption for what the strategy cannot do.
    """
    options = options or MergeOptions()
    _require_one_base(adapters)
    steps = merge_modules([deltas_of(adapter) for adapter in adapters], options, masks)
    total, made = len({path for adapter in adapters for path in adapter.tensors}), {}
    show(0, total, "")
    for path, made[path] in steps:
        show(len(made), total, path)
        await sleep(0)
    report = _report(adapters, options, made)
    return Merged(_adapter(adapters, name or _name(adapters, options), made, report), report)


async def merge_whole(adapters: Sequence[Adapter], options: MergeOptions | None = None, **how) -> Merged:
    """As `merge`, for what goes into a base: of a rank that leaves nothing out, unless one was asked for."""
    options = options or MergeOptions()
    return await merge(adapters, replace(options, rank=options.rank or _full_rank(adapters)), **how)


def _full_rank(adapters: Sequence[Adapter]) -> int | None:
    """A rank that leaves nothing out of their sum (256 at most); None where that is what one alone has anyway."""
    ranks = [max(len(A) for A, _ in adapter.tensors.values()) for adapter in adapters]
    return min(MOST_RANK, sum(ranks)) if ranks[1:] else None


def deltas_of(adapter: Adapter) -> dict[str, Factors]:
    """{module: what the adapter adds there}."""
    return {path: Factors(A, B, adapter.scale(path)) for path, (A, B) in adapter.tensors.items()}


def _require_one_base(adapters: Sequence[Adapter]) -> None:
    """An adapter that names no base is judged by its shapes alone, later."""
    for what in ("base_id", "family"):
        named = {value: adapter.name for adapter in adapters if (value := getattr(adapter, what))}
        if len(named) > 1:
            (one, first), (other, second) = list(named.items())[:2]
            raise AdapterMismatch(
                f"The adapters {first!r} and {second!r} are of different base models ({what} {one[:12]} and {other[:12]}). "
                "Merge adapters that were trained on the same model.",
                wanted=one,
                found=other,
            )


def _adapter(adapters: Sequence[Adapter], name: str, made: dict[str, Refit], report: dict) -> Adapter:
    tensors = {path: (refit.factors.A, refit.factors.B) for path, refit in made.items()}
    ranks = {path: len(A) for path, (A, _) in tensors.items()}
    scales = {path: refit.factors.scale for path, refit in made.items()}
    metadata = {"merge": {key: value for key, value in report.items() if key != "modules"}}
    if model := _shared([a.metadata.get("baseModel", "") for a in adapters]):
        metadata["baseModel"] = model
    return Adapter(
        config_of(ranks, scales),
        tensors,
        name=name,
        base_id=next((a.base_id for a in adapters if a.base_id), ""),
        base_sha256=_shared([a.base_sha256 for a in adapters]),
        family=next((a.family for a in adapters if a.family), ""),
        metadata=metadata,
    )


def _report(adapters: Sequence[Adapter], options: MergeOptions, made: dict[str, Refit]) -> dict:
    norm, error = (math.hypot(*(getattr(refit, what) for refit in made.values())) for what in ("norm", "error"))
    used = {option: getattr(options, option) for option in STRATEGIES[options.strategy].uses if option != "weights"}
    return {
        "strategy": options.strategy,
        **used,
        "weights": options.shares(len(adapters)),
        "rank": max(len(refit.factors.A) for refit in made.values()),
        "adapters": [{"name": a.name, "id": a.id, "checksum": a.checksum} for a in adapters],
        "error": error / norm if norm else 0.0,
        "modules": {path: refit.relative for path, refit in made.items()},
    }


def _name(adapters: Sequence[Adapter], options: MergeOptions) -> str:
    names = [adapter.name for adapter in adapters]
    return f"{' + '.join(names)} ({options.strategy})"[:MOST_NAME] if names[1:] else names[0]


def _shared(values: list[str]) -> str:
    """The one value that all have, else ""."""
    return values[0] if len(set(values)) == 1 else ""
