"""Ends a script that never gives its host a turn. Pure; Python 3.12 or newer, by `sys.monitoring`: the playground's is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE
from types import CodeType

from .errors import ScriptHeldPage

LONGEST_S = 10.0  # that a script may hold the page


class Guard:
    """Ends a script that runs longer than `longest` seconds without giving the page its turn: at the next jump back of one of its own
    loops it raises ScriptHeldPage. By `sys.monitoring`, so code of libraries runs at its full speed, and is not watched.
    """

    def __init__(self, code: CodeType, longest: float = LONGEST_S, clock: Callable[[], float] = time.monotonic):
        self._codes, self._longest, self._clock, self._since = list(_all(code)), longest, clock, clock()

    def __enter__(self):
        self._since, it = self._clock(), sys.monitoring
        it.use_tool_id(it.PROFILER_ID, "edgenet")
        it.register_callback(it.PROFILER_ID, it.events.JUMP, self._jumped)
        it.register_callback(it.PROFILER_ID, it.events.PY_RESUME, self._resumed)
        for code in self._codes:
            waits = code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR)
            it.set_local_events(it.PROFILER_ID, code, it.events.JUMP | (it.events.PY_RESUME if waits else 0))
        return self

    def __exit__(self, *_):
        it = sys.monitoring
        for code in self._codes:
            it.set_local_events(it.PROFILER_ID, code, 0)
        it.free_tool_id(it.PROFILER_ID)

    def _resumed(self, *_) -> None:
        self._since = self._clock()

    def _jumped(self, *_) -> None:
        if self._clock() - self._since > self._longest:
            self._since = self._clock()
            raise ScriptHeldPage(
                f"The script ran for {self._longest:g} seconds without an `await`, and the page stood still. Write "
                "`await asyncio.sleep(0)` in its loop, or make it shorter."
            )


def _all(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _all(inner)
