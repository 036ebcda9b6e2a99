"""The `edgenet` wheel, the same bytes every time."""

import os
import subprocess
import sys

from tools.paths import OUT, ROOT

FOLDER = OUT / "wheels"
EPOCH = "1767225600"  # 2026-01-01: the one date in every archive, so that equal sources give equal wheels


def run():
    """Build the wheel with the locked backend, without the network."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.whl"):
        old.unlink()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "--disable-pip-version-check",
            "-w",
            str(FOLDER),
            str(ROOT),
        ],
        check=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
    )


def path():
    return next(FOLDER.glob("edgenet-*.whl"))
