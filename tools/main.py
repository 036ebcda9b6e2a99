"""The commands of `build.py`, inside the virtual environment."""

import argparse
import importlib
import shutil
import sys

from tools.paths import DIST, NODE_MODULES, WORK

BENCHES = ("cache", "embed", "encoder", "kernels", "llm", "lora", "microlora", "steps")  # modules of bench/


def add_key(parser):
    parser.add_argument(
        "--key", help="Ed25519 key (PEM) to sign with; default: your own, made at the first build in your config folder"
    )


def serve(args):
    """Build, then serve dist/ and print the address."""
    from tools.build import build
    from tools.serve import server

    build(args.key)
    site = server(DIST, args.port, not args.plain, args.host, quiet=not args.verbose)
    name = "localhost" if args.host == "127.0.0.1" else args.host
    print(f"EdgeNet is at http://{name}:{site.server_port}/   (Ctrl-C stops it)", flush=True)
    try:
        site.serve_forever()
    except KeyboardInterrupt:
        return 0


def build(args):
    """Build into dist/."""
    from tools.build import build as make

    make(args.key)


def dist(args):
    """Build, then check that dist/ can be handed to any static host."""
    from tools.build import build as make
    from tools.check import check_site

    make(args.key)
    check_site(DIST)
    print(f"{DIST} holds the whole site: copy it to any static host, in any folder.")


def test(args):
    """Run every check; the exit status of the first kind that failed."""
    from tools.test import run

    return run(args)


def bench(args):
    """Run one bench and print its table, or one line of JSON last."""
    from tools.build import PEERS
    from tools.build import build as make

    make(None)
    PEERS.make()
    from bench.common import report

    report(importlib.import_module(f"bench.{args.name}").run(quick=args.quick), args.json)


def setup(args):
    """Only the environment and npm's packages."""
    from tools.build import NPM

    NPM.make()


def clean(args):
    """Remove everything that was built; downloads too with --all."""
    for path in [DIST, WORK / "out", WORK / "steps"] + ([WORK, NODE_MODULES] if args.all else []):
        shutil.rmtree(path, ignore_errors=True)


def sizes(args):
    """Bytes of what a visitor downloads, and lines of code by folder."""
    from tools.check import print_counts

    print_counts()


def lock(args):
    """Make the lock files anew (needs `uv`)."""
    from tools.lockfiles import lock_all

    lock_all()


def options():
    parser = argparse.ArgumentParser(prog="build.py", description="Build, serve, test and measure EdgeNet.")
    commands = parser.add_subparsers(required=True)
    for run in (serve, build, dist, test, bench, setup, clean, sizes, lock):
        command = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        FLAGS.get(run.__name__, lambda p: None)(command)
    return parser


def serve_flags(parser):
    add_key(parser)
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (they need https for EdgeNet to run)"
    )
    parser.add_argument("--plain", action="store_true", help="send no isolation headers, as a plain static host does")
    parser.add_argument("--verbose", action="store_true", help="log every request")


def test_flags(parser):
    parser.add_argument(
        "--long", action="store_true", help="also the long fuzzing and kill loops, and all that runs beside PyTorch"
    )
    parser.add_argument("--only", choices=["lint", "unit", "node", "browser", "native"], help="one kind of check")
    parser.add_argument("rest", nargs="*", help="passed on to pytest, after --")


def bench_flags(parser):
    parser.add_argument("name", choices=BENCHES, metavar="name", help=", ".join(BENCHES))
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer samples: a look, not a claim")


FLAGS = {
    "serve": serve_flags,
    "build": add_key,
    "dist": add_key,
    "test": test_flags,
    "bench": bench_flags,
    "setup": lambda p: p.add_argument("--test", action="store_true", help="with what the tests need"),
    "clean": lambda p: p.add_argument("--all", action="store_true", help="also the environment and every download"),
}


if __name__ == "__main__":
    arguments = options().parse_args()
    sys.exit(arguments.run(arguments) or 0)
