"""Reads `tests/vectors/`, and applies the small edits that its rows are written in. Runs in CPython and Pyodide."""

import copy
import json
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent / "vectors"


def load(name: str):
    """The parsed vector file `name`."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def rows(name: str, part: str) -> list:
    """pytest parameters: one per row of a table in a vector file, named by its reason."""
    import pytest

    return [pytest.param(row, id=row["why"]) for row in load(name)[part]]


def edited(document, edits):
    """A copy of `document` with edits applied: `[path, value]` sets, `[path]` deletes; a path is a list of keys."""
    result = copy.deepcopy(document)
    for path, *value in edits:
        target = result
        for key in path[:-1]:
            target = target[key]
        if value:
            target[path[-1]] = copy.deepcopy(value[0])
        else:
            del target[path[-1]]
    return result


def content(kind: str, size: int) -> bytes:
    """The bytes of a file in the vectors: see the note in `cid.json`."""
    if kind == "zeros":
        return bytes(size)
    return b"".join(sha256(k.to_bytes(4, "little")).digest() for k in range(-(-size // 32)))[:size]


def run(coroutine):
    """The result of a coroutine that never suspends: no event loop, so it works inside Pyodide too."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the coroutine suspended, but nothing here should wait")


class FixedClock:
    """A clock that stands still at a time text."""

    def __init__(self, time: str):
        from edgenet.fields import seconds

        self._now = float(seconds(time))

    def now(self) -> float:
        return self._now
