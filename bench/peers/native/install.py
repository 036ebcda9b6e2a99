"""llama.cpp for these very processors, compiled from its source distribution on first use (10 to 20 minutes on two cores). CPython."""

import os
import subprocess
import sys
from pathlib import Path

from tools.paths import WORK

HERE = Path(__file__).resolve().parent
VENV = WORK / "peers" / "native"
VERSION = "0.3.36"
# ggml's AMX kernels died of a general protection fault where this was written; AVX-512 with VNNI is the next best.
NO_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"


def cmake_args() -> str:
    """What to compile for: this processor, without AMX where it has it."""
    amx = "amx_tile" in Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else False
    flags = f'"-DCMAKE_C_FLAGS={NO_AMX}" "-DCMAKE_CXX_FLAGS={NO_AMX}"' if amx else ""
    return f"-DGGML_NATIVE=ON -DLLAMA_CURL=OFF {flags}"


def python() -> Path | None:
    """The interpreter that has `llama_cpp`; None, with the reason printed, where it cannot be compiled."""
    found = VENV / "bin" / "python"
    if not (VENV / "ready").exists():
        print("Compiling llama.cpp (once, 10 to 20 minutes; needs a C++ compiler) …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        done = subprocess.run(
            [found, "-m", "pip", "install", "-q", "--require-hashes", "-r", HERE / "requirements.txt"],
            env={**os.environ, "CMAKE_ARGS": cmake_args()}, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            print(f"llama.cpp could not be compiled and is not measured: {done.stderr.strip().splitlines()[-1:]}")
            return None
        (VENV / "ready").touch()
    return found
