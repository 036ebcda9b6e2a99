"""A build step: skipped when neither its inputs nor its own code changed since it last finished."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tools.paths import ROOT, WORK


@dataclass(frozen=True)
class Step:
    """`run()` makes `outputs` from `inputs` (files, folders or globs below the project)."""

    name: str
    run: Callable[[], None]
    inputs: list[str]
    outputs: list[Path]
    parameters: Callable[[], str] = field(default=str)  # anything else the result depends on

    def key(self):
        """SHA-256 over names and bytes of every input file."""
        digest = hashlib.sha256(self.parameters().encode())
        for path in files_of(self.inputs):
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def make(self):
        """Run unless up to date; the key is recorded only after success."""
        mark = WORK / "steps" / f"{self.name}.json"
        key = self.key()
        if mark.exists() and json.loads(mark.read_text())["key"] == key and all(o.exists() for o in self.outputs):
            return False
        mark.unlink(missing_ok=True)
        print(f"  {self.name} …", end="", flush=True)
        start = time.perf_counter()
        self.run()
        missing = [str(o) for o in self.outputs if not o.exists()]
        if missing:
            raise RuntimeError(f"step {self.name} did not make {', '.join(missing)}")
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps({"key": key}))
        print(f" {time.perf_counter() - start:.1f} s", flush=True)
        return True


def files_of(patterns):
    """Every file named by `patterns`, sorted; folders are walked, caches left out."""
    found = set()
    for pattern in patterns:
        for path in ROOT.glob(pattern):
            found.update(
                p
                for p in (path.rglob("*") if path.is_dir() else [path])
                if p.is_file() and "__pycache__" not in p.parts
            )
    return sorted(found)
