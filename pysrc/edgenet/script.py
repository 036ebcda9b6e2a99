"""Runs a person's script, which may `await` at its top level, and says what went wrong where. Runs anywhere: the playground and
`python -m edgenet script.py` are this.
"""

from __future__ import annotations

import ast
import asyncio
import linecache
import traceback
from dataclasses import dataclass
from inspect import CO_COROUTINE
from types import CodeType

from .errors import EdgeNetError


@dataclass(frozen=True)
class Failure:
    """Why a script ended. `line`: of the script, None where the error has none; `text`: what happened; `advice`: what to do, if we know."""

    line: int | None
    text: str
    advice: str = ""


# error -> what to do; EdgeNet's own say it themselves
_ADVICE = {
    "ModuleNotFoundError": "Only Python's own library, NumPy and edgenet are here.",
    "NameError": "Look for a typing error, or import the name: from edgenet import …",
    "SyntaxError": "Look at this line and at the end of the one above it.",
    "IndentationError": "Lines of one block begin with the same number of spaces.",
    "TypeError": "Calls of a model answer later: write `await` before them.",
    "AttributeError": "Calls of a model answer later: write `(await call()).name`.",
    "MemoryError": "Dispose models that are not needed any more, or take a smaller one.",
}
_FORGOTTEN = (
    "coroutine",
    "async_generator",
    "'Task' object",
)  # what a TypeError speaks of where an `await` was left out
_NEEDS_AWAIT = {"TypeError", "AttributeError"}


def compile_script(source: str, name: str) -> CodeType:
    """The script's code; tracebacks show its lines. Raises SyntaxError."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


async def run_script(code: CodeType) -> dict:
    """Run it as a main program, and all tasks that it leaves behind; its names at the end. Raises what the script raises."""
    names = {"__name__": "__main__", "__file__": code.co_filename, "__builtins__": __builtins__}
    mine = asyncio.all_tasks()
    try:
        if code.co_flags & CO_COROUTINE:
            await eval(code, names)  # noqa: S307 a person's own script is what this is for
        else:
            exec(code, names)  # noqa: S102
        while left := asyncio.all_tasks() - mine:
            await asyncio.gather(*left)
    finally:
        for task in asyncio.all_tasks() - mine:
            task.cancel()
    return names


def explain(error: BaseException, name: str) -> Failure:
    """The Failure of a script called `name`, from what it raised."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename == name:
        return Failure(error.lineno, f"{kind}: {error.msg}", _ADVICE.get(kind, _ADVICE["SyntaxError"]))
    if isinstance(error, EdgeNetError):
        return Failure(_line(error, name), f"{error.message} [{error.code}]")
    text = f"{kind}: {error}"
    advises = kind not in _NEEDS_AWAIT or any(word in text for word in _FORGOTTEN)
    return Failure(_line(error, name), text.rstrip(": "), _ADVICE.get(kind, "") if advises else "")


def _line(error: BaseException, name: str) -> int | None:
    """Of the script, where it was last; a library that it called lies below."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == name), None)
