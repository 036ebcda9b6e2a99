"""Health vectors: cases with the references' answers as JSON, and the check that an engine passes before its pack is used. Runs anywhere.

Arrays are base64 of little-endian bytes, so NaN and signs survive. JavaScript reads the same file.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

from ..errors import HealthCheckFailed
from .cases import all_cases
from .codes import OK
from .ext import EXTENSIONS, ExtCall, ext_cases
from .ops import DTYPES, KERNELS, kernel

HEALTH_PATH = "health.json"


def pack_array(array: np.ndarray, dtype: str) -> str:
    """Base64 of the array as little-endian `dtype`."""
    return base64.b64encode(np.ascontiguousarray(array, DTYPES[dtype]).tobytes()).decode()


def unpack_array(text: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `pack_array`."""
    return np.frombuffer(base64.b64decode(text), DTYPES[dtype]).reshape(shape).copy()


def make_vectors(most: int | None = None) -> bytes:
    """Vectors as JSON, deterministic: {"vectors": […], "records": […], "extensions": […]}; `records` are of language-model kernels
    (`lm/health.py`). With `most`, the health file: no case of more numbers than that, and few records.
    """
    from .lm.health import health_records, record_vectors

    def small(*arrays: np.ndarray) -> bool:
        return most is None or sum(np.size(a) for a in arrays) <= most

    document = {
        "schemaVersion": 1,
        "vectors": [_vector(c) for c in all_cases() if small(*c.values.values())],
        "records": list(record_vectors()) if most is None else health_records(),
        "extensions": [_ext_vector(c) for c in ext_cases() if small(c.a, c.b, c.out)],
    }
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _ext_vector(call: ExtCall) -> dict[str, Any]:
    row = EXTENSIONS[call.kernel]
    code, out, scratch = row.reference(call)
    expected = {"out": pack_array(out, "f32"), "scratch": pack_array(scratch, "f32")} if code == OK else {}
    if not row.keeps_scratch:
        expected.pop("scratch", None)
    return {
        "kernel": call.kernel,
        "reason": call.reason,
        "tolerance": row.tolerance,
        "params": base64.b64encode(call.params).decode(),
        "a": pack_array(call.a, "f32"),
        "b": pack_array(call.b, "f32"),
        "out": pack_array(call.out, "f32"),
        "scratch": 4 * call.scratch,
        "code": code,
        "expected": expected,
    }


def _vector(case) -> dict[str, Any]:
    row = KERNELS[case.kernel]
    code, outputs = row.reference(case.values)
    values = {
        a.name: pack_array(case.values[a.name] if a.kind != "value" else np.array([case.values[a.name]]), a.dtype)
        for a in row.args
        if a.name in case.values
    }
    out = {a.name: pack_array(outputs[a.name], a.dtype) for a in row.args if a.name in outputs}
    return {
        "kernel": case.kernel,
        "reason": case.reason,
        "tolerance": row.tolerance,
        "values": values,
        "code": code,
        "outputs": out if code == OK else {},
    }


def close(got: np.ndarray, want: np.ndarray, tolerance: float) -> bool:
    """Whether two arrays agree: integers exactly; floats within tolerance of the largest finite magnitude,
    infinities and NaN in equal places.
    """
    if want.dtype.kind != "f":
        return bool(np.array_equal(got, want))
    finite = np.isfinite(want)
    if (
        got.shape != want.shape
        or not np.array_equal(finite, np.isfinite(got))
        or not np.array_equal(got[~finite], want[~finite], equal_nan=True)
    ):
        return False
    scale = np.abs(want[finite]).max(initial=0.0).astype(np.float64)
    return bool((np.abs(got[finite].astype(np.float64) - want[finite]) <= tolerance * scale + 1e-44).all())


def _unpack_values(vector: dict[str, Any]) -> dict[str, Any]:
    row, given = KERNELS[vector["kernel"]], vector["values"]
    values = {a.name: unpack_array(given[a.name], a.dtype, (1,))[0].item() for a in row.args if a.kind == "value"}
    arrays = {
        a.name: unpack_array(given[a.name], a.dtype, (-1,)) for a in row.args if a.kind != "value" and a.name in given
    }
    for a in row.args:
        if a.name in arrays and arrays[a.name].size == int(np.prod(row.shape(a, values))):
            arrays[a.name] = arrays[a.name].reshape(row.shape(a, values))
    return {**values, **arrays}


def _failed(what: str, vector: dict[str, Any]) -> HealthCheckFailed:
    text = f'Kernel "{vector["kernel"]}", case "{vector["reason"]}": {what}. The pack is not used.'
    return HealthCheckFailed(text, kernel=vector["kernel"], reason=vector["reason"])


def _compare(
    vector: dict[str, Any], code: int, expected: dict[str, str], got: dict[str, np.ndarray], dtypes: dict[str, str]
) -> None:
    if code != vector["code"]:
        raise _failed(f"returned {code}, the reference {vector['code']}", vector)
    for name, text in expected.items():
        if not close(np.asarray(got[name]).reshape(-1), unpack_array(text, dtypes[name], (-1,)), vector["tolerance"]):
            raise _failed(f"{name} differs from the reference by more than {vector['tolerance']}", vector)


def check_vector(engine, vector: dict[str, Any]) -> None:
    """Run one vector on anything with `call`. Raises HealthCheckFailed naming kernel, case and what differed;
    errors of the engine pass through.
    """
    row = kernel(vector["kernel"])
    code, outputs = engine.call(row.name, **_unpack_values(vector))
    _compare(vector, code, vector["outputs"], outputs, {a.name: a.dtype for a in row.args})


def check_record(engine, vector: dict[str, Any]) -> None:
    """Run one vector of a language-model kernel on anything with `call_record`. Raises HealthCheckFailed."""
    from .lm.health import plain_dtype
    from .lm.table import op

    dtypes = {n: plain_dtype(op(vector["kernel"]).arg(n)) for n in vector["outputs"]}
    code, found = engine.call_record(vector)
    _compare(vector, code, vector["outputs"], {n: np.frombuffer(found[n], DTYPES[dtypes[n]]) for n in dtypes}, dtypes)


def check_ext_vector(extension, vector: dict[str, Any]) -> None:
    """Run one vector of an extension kernel on anything with `call(ExtCall)`. Raises HealthCheckFailed."""
    a, b, out = (unpack_array(vector[n], "f32", (-1,)) for n in ("a", "b", "out"))
    code, got, scratch = extension.call(
        ExtCall(vector["kernel"], base64.b64decode(vector["params"]), a, b, out, vector["scratch"] // 4)
    )
    _compare(vector, code, vector["expected"], {"out": got, "scratch": scratch}, {"out": "f32", "scratch": "f32"})


def check_engine(engine, health: bytes) -> int:
    """Run every vector and record of a health file on an engine; returns how many passed. Raises HealthCheckFailed."""
    document = json.loads(health)
    vectors, records = document["vectors"], document.get("records", [])
    for vector in vectors:
        check_vector(engine, vector)
    for record in records:
        check_record(engine, record)
    return len(vectors) + len(records)


def check_extensions(extensions: dict[str, Any], health: bytes) -> int:
    """Run every vector whose kernel is among `extensions` (id → what has `call`); returns how many passed. Raises HealthCheckFailed."""
    vectors = [v for v in json.loads(health)["extensions"] if v["kernel"] in extensions]
    for vector in vectors:
        check_ext_vector(extensions[vector["kernel"]], vector)
    return len(vectors)
