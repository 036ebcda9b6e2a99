"""Make the lock files: every platform, SHA-256 of every file, no addresses."""

import shutil
import subprocess
import sys

from tools.paths import LOCK

OPTIONS = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header", "-q"]


def lock_all():
    """Resolve each `tools/lock/*.in` to its `.txt`. Unpacked assets are locked without what they would depend on."""
    uv = shutil.which("uv") or sys.exit("This needs `uv`: pip install uv")
    for source in sorted(LOCK.glob("*.in")):
        alone = ["--no-deps"] if source.stem == "assets" else []
        subprocess.run(
            [uv, "pip", "compile", source.name, *OPTIONS, *alone, "-o", f"{source.stem}.txt"], cwd=LOCK, check=True
        )
