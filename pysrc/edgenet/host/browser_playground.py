"""The playground's Python: runs a person's script in the page, streams what it prints, stops it. Pyodide, in the page.

Python shares the page's thread; models compute in workers. So the page answers while a script awaits, and a script that never does is
ended by `Guard`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

from .. import plot
from ..guard import Guard
from ..script import compile_script, explain, run_script
from . import browser_models

NAME = "script.py"
Emit = Callable[[str, str, str], None]  # (kind, text, name): "text", "note" or "chart"


class Playground:
    """One script at a time."""

    def __init__(self):
        self._task: asyncio.Task | None = None

    def run(self, source: str, emit: Emit) -> asyncio.Task[dict]:
        """{"status": "done" | "stopped" | "failed", "line", "text", "advice"} of a script; models that it opened are closed.

        The script has a task on return: a stop may come before its first step, on a page that is busy.
        """
        self._task = asyncio.ensure_future(_run(source, emit))
        return asyncio.ensure_future(self._ended())

    async def _ended(self) -> dict:
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
