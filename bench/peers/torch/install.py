"""PyTorch for processors, transformers and PEFT, in an environment of their own. CPython.

`EDGENET_TORCH` names an interpreter that has them already. The lock file is of PyTorch's build without CUDA, for CPython 3.11 on x86-64
Linux: pip must know an index or a folder that has that build. 240 MB are downloaded, once.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tools.paths import WORK

HERE = Path(__file__).resolve().parent
LOCK = HERE / "requirements.txt"
VENV = WORK / "peers" / "torch"
PYTHON = VENV / "bin" / "python"
VERSION = "2.13.0"


def python() -> Path | None:
    """The interpreter that has `torch`; None, with the reason printed, where it cannot be had."""
    found, why = find()
    if why:
        print(f"Not measured beside PyTorch: {why}")
    return found


def find() -> tuple[Path | None, str]:
    """(the interpreter, or None; why there is none). Installs it where it must be."""
    if given := os.environ.get("EDGENET_TORCH"):
        return Path(given), ""
    ready, stamp = VENV / "ready", hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not ready.exists() or ready.read_text() != stamp:
        if why := _install():
            failed = f"PyTorch, transformers and PEFT could not be installed: {why}"
            return None, f"{failed} Set EDGENET_TORCH to a Python that has them."
        ready.write_text(stamp)
    return PYTHON, ""


def _install() -> str:
    """Why it cannot be; empty where it is done."""
    print("Installing PyTorch, transformers and PEFT (once, 240 MB) …", flush=True)
    for command in (
        [sys.executable, "-m", "venv", VENV],
        [PYTHON, "-m", "pip", "install", "-q", "--require-hashes", "-r", LOCK],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
    return ""
