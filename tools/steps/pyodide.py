"""Pyodide for the site: the runtime from npm and its verified packages, in one folder that needs no other host."""
import shutil

from tools.paths import CACHE, NODE_MODULES, OUT

FOLDER = OUT / "pyodide"
RUNTIME = ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json"]


def run():
    """Copy runtime and packages to `.build/out/pyodide`."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name in RUNTIME:
        shutil.copyfile(NODE_MODULES / "pyodide" / name, FOLDER / name)
    for package in sorted((CACHE / "pyodide").glob("*.whl")):
        shutil.copyfile(package, FOLDER / package.name)
