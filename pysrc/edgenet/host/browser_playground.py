"""The playground's Python: runs a person's script in the page, streams what it prints, stops it. Pyodide, in the page.

Python shares the page's thread; models compute in workers. So the page answers while a script awaits, and a script that never does is
ended by `Guard`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE
from types import CodeType

from .. import plot
from ..errors import ScriptHeldPage
from ..script import compile_script, explain, run_script
from . import browser_models

NAME = "script.py"
LONGEST_S = 10.0  # that a script may hold the page
Emit = Callable[[str, str, str], None]  # (kind, text, name): "text", "note" or "chart"


class Playground:
    """One script at a time."""

    def __init__(self):
        self._task: asyncio.Task | None = None

    async def run(self, source: str, emit: Emit) -> dict:
        """{"status": "done" | "stopped" | "failed", "line", "text", "advice"} of a script; models that it opened are closed."""
        self._task = asyncio.ensure_future(_run(source, emit))
        try:
            await self._task
            return {"status": "done"}
        except asyncio.CancelledError:
            return {"status": "stopped"}
        except BaseException as error:  # a person's script may raise anything, SystemExit too
            return {"status": "failed", **vars(explain(error, NAME))}
        finally:
            self._task = None
            await browser_models.close_all()

    def stop(self) -> None:
        """End the script at its `await`."""
        if self._task:
            self._task.cancel()


async def _run(source: str, emit: Emit) -> None:
    plot.DISPLAY.set(lambda name, svg: emit("chart", svg, name))
    with redirect_stdout(_Writer(emit, "text")), redirect_stderr(_Writer(emit, "note")):
        code = compile_script(source, NAME)
        with Guard(code):
            await run_script(code)


class _Writer:
    """A text file that is the page."""

    def __init__(self, emit: Emit, kind: str):
        self._emit, self._kind = emit, kind

    def write(self, text: str) -> int:
        if text:
            self._emit(self._kind, text, "")
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""


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


def _all(code: CodeType):
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _all(inner)
