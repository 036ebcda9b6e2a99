"""Pyodide for the site: runtime, verified packages and a memory snapshot, in a folder that needs no other host."""

import gzip
import shutil

from tools import node
from tools.paths import CACHE, NODE_MODULES, OUT, ROOT

FOLDER = OUT / "pyodide"
RUNTIME = ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json"]
# Standard modules that numpy and edgenet import; NumPy itself cannot be in a snapshot (it is a shared library).
IN_SNAPSHOT = (
    "abc,ast,asyncio,base64,collections,contextlib,ctypes,dataclasses,datetime,enum,functools,hashlib,inspect,io,itertools,"
    "json,math,operator,pathlib,pickle,platform,random,re,struct,textwrap,typing,unicodedata,urllib.parse,warnings,zipfile"
)


def run():
    """Copy runtime and packages to `.build/out/pyodide` and make the snapshot (gzip, unpacked by the worker)."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name in RUNTIME:
        shutil.copyfile(NODE_MODULES / "pyodide" / name, FOLDER / name)
    for package in sorted((CACHE / "pyodide").glob("*.whl")):
        shutil.copyfile(package, FOLDER / package.name)
    raw = FOLDER / "snapshot.bin"
    node.run([ROOT / "tools" / "steps" / "pyodide-snapshot.mjs", NODE_MODULES / "pyodide", raw, IN_SNAPSHOT])
    (FOLDER / "snapshot.bin.gz").write_bytes(gzip.compress(raw.read_bytes(), 9, mtime=0))
    raw.unlink()
