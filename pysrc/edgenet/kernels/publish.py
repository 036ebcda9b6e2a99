"""Makes a pack's `kernels.json` from compiled modules: the engine's table, EdgeNet's extensions, hashes. Pure;
what it makes is not signed yet.
"""

from __future__ import annotations

import json
from typing import Any

from .ext import EXTENSIONS
from .health import HEALTH_PATH, make_vectors
from .ops import KERNELS
from .pack import LIMITS, file_entry

CATEGORY = {"normalize": "normalization", "all_finite": "custom", "topk_dot": "custom"}  # the rest are adapters
HEALTH_NUMBERS = 500  # cases of up to 500 numbers, so that the file stays small
WASMTIME = {"min_version": "15.0.0"}
EXT_SHAPES = {
    "rmsnorm_f32": ([("x", ["rows", "hidden"]), ("weight", ["hidden"])], [("y", ["rows", "hidden"])]),
    "lora_apply_f32": ([("x", ["rows", "d_in"]), ("factors", ["d_in*r + r*d_out"])], [("y", ["rows", "d_out"])]),
    "swiglu_f32": ([("x", ["rows", "hidden"]), ("gate", ["rows", "hidden"])], [("y", ["rows", "hidden"])]),
}
EXT_SCRATCH = {
    "rmsnorm_f32": ["rows"],
    "lora_apply_f32": ["r"],
}  # floats of scratch a caller gives unless it says otherwise
_STRUCT_TYPES = {"f": "f32", "I": "u32"}


def _tensor(name: str, shape: list, dtype: str = "f32") -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": shape}


def _platforms(features: list[str]) -> dict[str, Any]:
    return {"wasmtime": {**WASMTIME, "features": features}, "browser": {"features": features}}


def _engine_entry(name: str, build: dict[str, Any]) -> dict[str, Any]:
    row = KERNELS[name]
    return {
        "id": name,
        "name": name,
        "kind": "engine",
        "category": CATEGORY.get(name, "adapter"),
        "module": "engine",
        "path": build["path"],
        "hash": build["hash"],
        "entry_point": name,
        "inputs": [_tensor(a.name, list(a.shape), a.dtype) for a in row.args if a.kind in ("in", "inout")],
        "outputs": [_tensor(a.name, list(a.shape), a.dtype) for a in row.args if a.kind in ("out", "inout")],
        "params": {a.name: {"type": a.dtype} for a in row.args if a.kind == "value"},
        "resource_limits": {**LIMITS, "max_memory_pages": 1024},
        "platforms": _platforms(build["features"]),
    }


def _extension_entry(kernel_id: str, build: dict[str, Any]) -> dict[str, Any]:
    row, (inputs, outputs) = EXTENSIONS[kernel_id], EXT_SHAPES[kernel_id]
    return {
        "id": kernel_id,
        "name": kernel_id,
        "kind": "extension",
        "category": row.category,
        "module": kernel_id,
        "path": build["path"],
        "hash": build["hash"],
        "entry_point": "kernel_forward",
        "inputs": [_tensor(*t) for t in inputs],
        "outputs": [_tensor(*t) for t in outputs],
        "params": {name: {"type": _STRUCT_TYPES[form]} for name, form in row.params},
        "scratch": EXT_SCRATCH.get(kernel_id, []),
        "resource_limits": LIMITS,
        "platforms": _platforms(build["features"]),
    }


def make_pack(
    files: dict[str, bytes],
    builds: dict[str, tuple[str, ...]],
    *,
    version: str,
    runtime: tuple[str, str],
    created_at: str,
    author: dict[str, str],
) -> dict[str, bytes]:
    """`kernels.json` and `health.json` for compiled `files` (path → bytes).

    `builds` maps the engine's paths, best first, to the features each needs; files under ext/ are extension kernels (plain SIMD). The same
    arguments give the same bytes. Sign the bytes of kernels.json and write base64 of that to kernels.json.sig.
    """
    health = make_vectors(HEALTH_NUMBERS)
    engine = [{**file_entry(path, files[path]), "features": list(features)} for path, features in builds.items()]
    own = {
        path[4:-5]: [{**file_entry(path, data), "features": ["simd"]}]
        for path, data in sorted(files.items())
        if path.startswith("ext/")
    }
    kernels = [_engine_entry(name, engine[-1]) for name in KERNELS] + [
        _extension_entry(name, build[0]) for name, build in own.items()
    ]
    document = {
        "$schema": "kernel-pack-v1.json",
        "version": version,
        "name": "edgenet-kernels",
        "description": "EdgeNet's engine module and extension kernels",
        "min_runtime_version": runtime[0],
        "max_runtime_version": runtime[1],
        "created_at": created_at,
        "author": author,
        "modules": {"engine": engine, **own},
        "kernels": kernels,
        "health": file_entry(HEALTH_PATH, health),
        "fallbacks": {entry["id"]: f"{entry['id']}_reference" for entry in kernels},
    }
    return {"kernels.json": (json.dumps(document, indent=1) + "\n").encode(), HEALTH_PATH: health}
