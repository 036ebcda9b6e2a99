"""Progress on stderr: a bar on a terminal, else one line at the start and one at the end. CPython."""

import sys
import time
from contextlib import contextmanager

from .text import counted, megabytes


@contextmanager
def progress(shell, what: str, unit: str = "bytes"):
    """Gives `show(loaded, total, note="")`. `unit` is "bytes" or the noun, singular, of what is counted."""
    if shell.quiet:
        yield lambda *a, **k: None
    elif sys.stderr.isatty():
        with _bar(what, unit) as show:
            yield show
    else:
        with _lines(shell, what, unit) as show:
            yield show


@contextmanager
def _bar(what: str, unit: str):
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counted = (
        (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(), TextColumn(unit + "s"))
    )
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), *counted, TimeRemainingColumn(), console=Console(stderr=True)
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda loaded, total, note="": bar.update(
            task, completed=loaded, total=total, description=f"{what} {note}".rstrip()
        )


@contextmanager
def _lines(shell, what: str, unit: str):
    state, start = {}, time.monotonic()

    def show(loaded, total, note=""):
        if not state:
            here = f", {_amount(loaded, unit)} here already" if loaded else ""
            shell.say(f"{what}: {_amount(total, unit)}{here}")
        state.update(loaded=loaded, total=total)

    yield show
    if state:
        shell.say(
            f"{what}: {_amount(state['loaded'], unit)} of {_amount(state['total'], unit)} after {time.monotonic() - start:.1f} s"
        )


def _amount(count: int, unit: str) -> str:
    return megabytes(count) if unit == "bytes" else counted(count, unit)
