"""PyTorch for processors, in an environment of its own. CPython.

`EDGENET_TORCH` names an interpreter that has it already. The lock file is of the build without CUDA, for CPython 3.11 on x86-64 Linux.
"""

import os
import subprocess
import sys
from pathlib import Path

from tools.paths import WORK

HERE = Path(__file__).resolve().parent
VENV = WORK / "peers" / "torch"
VERSION = "2.13.0"


def python() -> Path | None:
    """The interpreter that has `torch`; None, with the reason printed, where it cannot be had."""
    if given := os.environ.get("EDGENET_TORCH"):
        return Path(given)
    found = VENV / "bin" / "python"
    if not (VENV / "ready").exists():
        print("Installing PyTorch (once) …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        command = [found, "-m", "pip", "install", "-q", "--require-hashes", "-r", HERE / "requirements.txt"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            print(
                f"PyTorch could not be installed and is not measured: {why} Set EDGENET_TORCH to a Python that has it."
            )
            return None
        (VENV / "ready").touch()
    return found
