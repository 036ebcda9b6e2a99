"""A script that never lets go is ended at its next jump back; one that awaits, or is short, is not."""

import sys
from inspect import iscoroutine
from itertools import count

import pytest

from edgenet.errors import ScriptHeldPage
from edgenet.guard import Guard
from edgenet.script import compile_script

pytestmark = pytest.mark.skipif(
    not hasattr(sys, "monitoring"), reason="sys.monitoring came with Python 3.12; Pyodide has it"
)


def run(source, longest):
    """Its names at the end, by a clock that goes on by one at every look; without an event loop, which a browser's tests cannot start."""
    ticks, names = count(), {}
    code = compile_script(source, "held.py")
    with Guard(code, longest, lambda: float(next(ticks))):
        if iscoroutine(running := eval(code, names)):
            finish(running)
    return names


def finish(coroutine):
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "def f():\n    for i in range(10**9): pass\nf()",
        "async def f():\n    while True: pass\nawait f()",
    ],
    ids=["at the top", "in a function", "in a coroutine"],
)
def test_a_loop_without_await_is_ended(source):
    with pytest.raises(ScriptHeldPage, match="await"):
        run(source, 50)


def test_a_loop_that_awaits_goes_on_for_ever():
    source = "import asyncio\nn = 0\nwhile n < 500:\n    await asyncio.sleep(0)\n    n += 1"
    assert run(source, 50)["n"] == 500


def test_after_a_script_nothing_is_watched_any_more():
    run("x = 1", 50)
    run("x = 1", 50)
    assert sys.monitoring.get_tool(sys.monitoring.PROFILER_ID) is None
