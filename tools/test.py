"""`build.py test`: lint, unit tests, Node tests and browser tests, and with --long those beside PyTorch, in that order, each counted."""

import subprocess
import sys

from tools import node
from tools.build import build
from tools.paths import NODE_MODULES, ROOT


def lint(args):
    """ruff and its formatting, the types of everything under web/, and the sizes of files and functions."""
    from tools.check import check_counts

    ruff = [sys.executable, "-m", "ruff"]
    tsc = [node.find()[0], str(NODE_MODULES / "typescript" / "bin" / "tsc"), "-p", "web/tsconfig.json"]
    commands = [[*ruff, "check", "--no-cache", "."], [*ruff, "format", "--check", "--no-cache", "."], tsc]
    return max([*(subprocess.call(command, cwd=ROOT) for command in commands), check_counts()])


def unit(args):
    return pytest(args, "tests/unit")


def node_tests(args):
    files = sorted((ROOT / "tests" / "node").glob("*.test.mjs"))
    return subprocess.call([node.find()[0], "--test", *map(str, files)], cwd=ROOT)


def browser(args):
    return pytest(args, "tests/browser")


def native(args):
    """Training, adapters and models beside PyTorch, transformers and PEFT; a text where they cannot be run."""
    if not args.long:
        return "with --long"
    from tools.native import run

    return run(args.rest)


def pytest(args, folder):
    long = ["--long"] if args.long else []
    return subprocess.call([sys.executable, "-m", "pytest", folder, *long, "--durations=8", *args.rest], cwd=ROOT)


KINDS = {"lint": lint, "node": node_tests, "unit": unit, "browser": browser, "native": native}


def run(args):
    """Every kind (or `--only` one), even after a failure; the first failing status. What could not be run is said, and fails nothing."""
    build()
    results = {name: kind(args) for name, kind in KINDS.items() if args.only in (None, name)}
    for name, code in results.items():
        print(f"{name}: {told(code)}", flush=True)
    return next((code for code in results.values() if code and isinstance(code, int)), 0)


def told(code: int | str) -> str:
    """A result for people: a status, or why there is none."""
    return f"SKIPPED: {code}" if isinstance(code, str) else "passed" if code == 0 else f"FAILED ({code})"
