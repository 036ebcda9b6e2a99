#!/usr/bin/env python3
"""One command for everything: set up, build, serve, test, measure.

Needs only Python 3.11+, and a network for the first run.

    python build.py serve                 set up, build, serve on http://localhost:8000 and print the address
    python build.py test [--long]         every test, browser tests included (what CI runs)
    python build.py build | dist          build into dist/ (dist: refuses test keys, checks sub-folder use)
    python build.py bench NAME [--json] [--quick]
    python build.py setup [--test]        only the environment
    python build.py lock | clean | sizes  maintenance

`python build.py COMMAND --help` tells the options of each.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  (an older Python gets a sentence instead of a traceback)
    sys.exit(
        f"EdgeNet needs Python 3.11 or newer; this is {sys.version.split()[0]}. Run build.py with a newer python3."
    )

from tools.env import ensure, hand_over  # noqa: E402  (after the version check, so that old Pythons get the message above)

NEEDS_TEST_EXTRAS = {"test", "bench", "lint"}


def main(argv):
    """Make the virtual environment (once), then run `tools.main` inside it with the same arguments."""
    if not argv or argv[0] in ("-h", "--help"):
        return print(__doc__.strip())
    extras = argv[0] in NEEDS_TEST_EXTRAS or "--test" in argv
    python = ensure("test" if extras else "build")
    sys.exit(hand_over(python, ["-m", "tools.main", *argv]))


if __name__ == "__main__":
    main(sys.argv[1:])
