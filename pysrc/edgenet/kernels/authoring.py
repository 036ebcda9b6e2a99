"""Makes a pack of one's own kernels: from a description and compiled modules to `kernels.json` and `health.json`. Pure; runs anywhere.

The description is a `kernels.json` without what can be computed (hash, size, module, kind, entry point), each kernel with the cases that
check it wherever the pack is loaded: inputs and the answer that an independent reference gives. Signing is the caller's matter.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

from ..errors import InvalidPack
from ..fields import load_object
from .calls import F32, make_call
from .codes import OK
from .health import HEALTH_PATH, pack_array
from .pack import LIMITS, file_entry, parse_pack

FEATURES = ["simd"]
_COMPUTED = ("path", "cases", "features")


def complete_pack(description: bytes, files: dict[str, bytes]) -> dict[str, bytes]:
    """`kernels.json` and `health.json` for a description (its `path`s name `files`). The same arguments give the same bytes.

    Raises InvalidPack naming what is missing, and what `calls.make_call` raises for a case that does not fit its kernel.
    """
    document = load_object(description, "the pack's description", InvalidPack, InvalidPack)
    rows = document.get("kernels")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise InvalidPack('the description needs "kernels": a list with at least one kernel')
    entries = [_entry(row, files) for row in rows]
    vectors = [_vector(entry, case) for entry, row in zip(entries, rows, strict=True) for case in _cases(row)]
    body = {"schemaVersion": 1, "vectors": [], "extensions": vectors}
    health = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
    builds = [
        [file_entry(row["path"], files[row["path"]]) | {"features": row.get("features", FEATURES)}] for row in rows
    ]
    document |= {"modules": {e["id"]: build for e, build in zip(entries, builds, strict=True)}, "kernels": entries}
    document |= {"health": file_entry(HEALTH_PATH, health)}
    made = (json.dumps(document, indent=1) + "\n").encode()
    parse_pack(made)
    return {"kernels.json": made, HEALTH_PATH: health}


def _entry(row: dict, files: dict[str, bytes]) -> dict[str, Any]:
    missing = [name for name in ("id", "path", "inputs", "outputs") if name not in row]
    if missing:
        raise InvalidPack(f"a kernel of the description has no {', '.join(missing)}: {row.get('id', row)}")
    if row["path"] not in files:
        raise InvalidPack(
            f"{row['id']}: there is no file {row['path']} beside the description; compile the kernel first"
        )
    built = file_entry(row["path"], files[row["path"]])
    fixed = {
        "kind": "extension",
        "module": row["id"],
        "path": row["path"],
        "hash": built["hash"],
        "entry_point": "kernel_forward",
    }
    given = {name: value for name, value in row.items() if name not in _COMPUTED}
    limits = LIMITS | row.get("resource_limits", {})
    return {"category": "custom", "params": {}, **given, **fixed, "resource_limits": limits}


def _cases(row: dict) -> list[dict]:
    if not row.get("cases"):
        raise InvalidPack(
            f'{row["id"]}: give "cases", at least one call with its "expected" answer, so that readers can check it'
        )
    return row["cases"]


def _vector(entry: dict, case: dict) -> dict[str, Any]:
    """One health vector; arrays as base64 of little-endian f32, as `health.py` reads them."""
    call = make_call(
        entry, *(case.get(n) for n in ("a", "b", "params")), output=case.get("output"), scratch=case.get("scratch")
    )
    code = case.get("code", OK)
    if code == OK and "expected" not in case:
        raise InvalidPack(f'{entry["id"]}: the case {case.get("reason", "")!r} has no "expected" answer')
    arrays = {n: pack_array(getattr(call, n), "f32") for n in ("a", "b", "out")}
    answer = np.asarray(case.get("expected", []), F32).reshape(-1)
    return arrays | {
        "kernel": entry["id"],
        "reason": case.get("reason", "a case"),
        "tolerance": case.get("tolerance", 1e-6),
        "params": base64.b64encode(call.params).decode(),
        "scratch": 4 * call.scratch,
        "code": code,
        "expected": {"out": pack_array(answer, "f32")} if code == OK else {},
    }
