"""A person's script: it may await at its top level, what it leaves behind is waited for, and its errors are told with its own line."""

import asyncio

import pytest

from edgenet.errors import EmptyText
from edgenet.script import compile_script, explain, run_script

NAME = "mine.py"


def run(source):
    return asyncio.run(run_script(compile_script(source, NAME)))


def failure(source):
    try:
        run(source)
    except BaseException as error:
        return explain(error, NAME)
    raise AssertionError("the script did not fail")


@pytest.mark.parametrize(
    ("source", "x"),
    [
        ("x = 1", 1),
        ("import asyncio\nx = await asyncio.sleep(0, 2)", 2),
        ("async def f():\n    yield 3\nx = [i async for i in f()][0]", 3),
        ("x = __name__", "__main__"),
        (
            "import asyncio\nx = []\nasync def f():\n    await asyncio.sleep(0)\n    x.append(4)\nt = asyncio.ensure_future(f())",
            [4],
        ),
    ],
    ids=["plain", "await", "async comprehension", "main program", "a task left behind"],
)
def test_a_script_runs_to_its_end(source, x):
    assert run(source)["x"] == x


@pytest.mark.parametrize(
    ("source", "line", "text", "advice"),
    [
        ("x = 1\ny = x +", 2, "SyntaxError", "this line"),
        ("x = 1\n  y = 2", 2, "IndentationError", "spaces"),
        ("\n\nnope()", 3, "NameError: name 'nope'", "import the name"),
        ("def f():\n    return 1 / 0\n\nf()", 2, "ZeroDivisionError", ""),
        ("import json\njson.loads('{')", 2, "JSONDecodeError", ""),
        ("import not_there", 1, "ModuleNotFoundError", "NumPy"),
        ("async def f(): pass\nf() + 'a'", 2, "TypeError", "await"),
        ("1 + 'a'", 1, "TypeError", ""),
        ("from edgenet import LoraConfig\nLoraConfig(r=0)", 2, "[rank_invalid]", ""),
    ],
    ids=[
        "syntax",
        "indent",
        "name",
        "in a function",
        "in a library",
        "module",
        "no await",
        "other type",
        "EdgeNet's own",
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine")
def test_an_error_is_told_with_the_scripts_line_and_what_to_do(source, line, text, advice):
    told = failure(source)
    assert told.line == line and text in told.text and advice in told.advice
    assert bool(told.advice) == bool(advice)


def test_the_line_is_the_scripts_own_where_a_library_raised():
    told = failure("from edgenet.errors import EmptyText\n\ndef f():\n    raise EmptyText('Nothing there.')\n\nf()")
    assert told.line == 4 and told.text == f"Nothing there. [{EmptyText.code}]"


def test_a_cancelled_script_leaves_no_task_behind():
    async def main():
        code = compile_script(
            "import asyncio\nasyncio.ensure_future(asyncio.sleep(3600))\nawait asyncio.sleep(3600)", NAME
        )
        task = asyncio.ensure_future(run_script(code))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert not asyncio.run(main())
