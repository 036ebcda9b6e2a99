"""What pulling a model does besides fetching it, from wherever it comes: tell of it, copy it out, make room for it. CPython."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from ..registry.pull import export


@dataclass
class Pulled:
    """A complete model and what it took to get it."""

    model: object
    totals: object
    files: dict[str, str] = field(default_factory=dict)
    output: str | None = None
    evicted: list[str] = field(default_factory=list)


def settled(shell, model, totals, output: str | None) -> Pulled:
    """A model that is complete in the cache now: copied to `output` if that was asked for, and given room."""
    pulled = Pulled(model, totals, {name: str(path) for name, path in shell.store.paths(model).items()})
    if output is not None:
        pulled.output = _copied(shell, model, output)
    pulled.evicted = _make_room(shell, model)
    return pulled


def _copied(shell, model, output: str) -> str:
    """The folder of the copy, which has the model's manifest beside its files."""
    text = json.dumps(model.manifest, indent=1, ensure_ascii=False) + "\n"
    return str(export(shell.store, model, Path(output), shell.disk, text.encode()))


def _make_room(shell, model) -> list[str]:
    """Remove the longest unused models beyond the cache's limit, never `model`; keys of those gone."""
    if (limit := shell.config.cache_limit) is None:
        return []
    evicted = [gone.key for gone in shell.store.evict(limit, keep=model.key)]
    if evicted:
        shell.say(f"notice: removed from the cache to stay under {shell.config['cache.maxSize']}: {', '.join(evicted)}")
    return evicted


def events(shell, show):
    """What to call with each event of a pull: progress to `show`, notices to the user."""

    def emit(event):
        if "loaded" in event:
            show(event["loaded"], event["total"], event["file"])
        shell.say_event(event)

    return emit
