"""The training text: every module of Pyodide's standard library, and which of them are held out. Runs anywhere.

The archive is named by its hash, so everybody trains and tests on the same bytes.
"""

import hashlib
import zipfile
from pathlib import Path

ARCHIVE_SHA256 = "444c770dfd75a32097fc0a7d5c1413fd3140601f49c3a1f2e9af0376fcd124b4"  # pyodide 314.0.3
# Whole packages the model never sees: what a person could teach it afterwards.
PERSONAL = ("_pyrepl/", "logging/", "xmlrpc/")


def read_archive(path: Path) -> dict[str, bytes]:
    """{module path: source bytes}, sorted. Raises ValueError when it is another archive."""
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != ARCHIVE_SHA256:
        raise ValueError(f"{path} has SHA-256 {found}, expected {ARCHIVE_SHA256}: use the pinned npm package `pyodide`")
    with zipfile.ZipFile(path) as archive:
        return {n: archive.read(n) for n in sorted(archive.namelist()) if n.endswith(".py")}


def part_of(name: str) -> str:
    """ "personal", "held-out" (a tenth of the other modules, by hash of the path) or "train"."""
    if name.startswith(PERSONAL):
        return "personal"
    return "held-out" if hashlib.sha256(name.encode()).digest()[0] % 10 == 0 else "train"


def split(modules: dict[str, bytes]) -> dict[str, dict[str, bytes]]:
    """{part: {module path: source}} for the three parts."""
    parts = {"train": {}, "held-out": {}, "personal": {}}
    for name, source in modules.items():
        parts[part_of(name)][name] = source
    return parts
