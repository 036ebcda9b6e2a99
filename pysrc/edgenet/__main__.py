"""`python -m edgenet script.py`: a script of the playground on this machine. CPython."""

import asyncio
import sys
from pathlib import Path

from .errors import EdgeNetError
from .script import compile_script, explain, run_script


def main(arguments: list[str]) -> int:
    """Run a script that may `await` at its top level; the exit status. Its error is told with its line."""
    if len(arguments) != 1:
        print("usage: python -m edgenet script.py", file=sys.stderr)
        return 2
    name = arguments[0]
    try:
        asyncio.run(run_script(compile_script(Path(name).read_text(encoding="utf-8"), name)))
    except Exception as error:  # a person's script may raise anything
        failure = explain(error, name)
        where = f"{name}, line {failure.line}" if failure.line else name
        print(f"{where}: {failure.text} {failure.advice}".rstrip(), file=sys.stderr)
        return error.exit_status if isinstance(error, EdgeNetError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
