"""From a kernel's entry in `kernels.json` and a caller's arrays to one checked call. Pure; runs anywhere.

The pack's own words decide: how many inputs, which dtypes, how long each is (a shape may name parameters, as in "d_in*r + r*d_out"), and
the order of the parameter block. Arrays are f32 so far: health vectors compare nothing else. Twin of
`web/engine/kernels/calls.js`.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from ..errors import DTypeMismatch, InvalidParameters, ShapeMismatch, UnsupportedFeature
from .ext import ExtCall

F32 = np.dtype("<f4")
_STRUCT = {"f32": "<f", "i32": "<i", "u32": "<I"}


def shape_size(shape: list, sizes: dict[str, int]) -> int | None:
    """Numbers in an array of this shape; None when it names a size that nobody gave."""
    total = 1
    for dimension in shape:
        terms = [term.split("*") for term in str(dimension).split("+")]
        factors = [[_size(f.strip(), sizes) for f in term] for term in terms]
        if any(f is None for term in factors for f in term):
            return None
        total *= sum(int(np.prod(term, dtype=object)) for term in factors)
    return total


def _size(text: str, sizes: dict[str, int]) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else sizes.get(text)


def pack_params(entry: dict, given: dict[str, Any] | None) -> tuple[bytes, dict[str, Any]]:
    """(parameter block, values with the pack's defaults). Raises InvalidParameters for a missing, unknown or unfit value."""
    given, table, block, values = dict(given or {}), entry["params"], b"", {}
    if unknown := sorted(set(given) - set(table)):
        raise _bad(entry, f"has no parameter {', '.join(unknown)}; it takes {', '.join(table) or 'none'}")
    for name, row in table.items():
        value, form = given.get(name, row.get("default")), _STRUCT.get(row.get("type"))
        if form is None:
            raise _unsupported(entry, f'parameter "{name}" of type {row.get("type")!r}')
        if value is None:
            raise _bad(entry, f'needs the parameter "{name}" ({row["type"]})')
        block, values[name] = block + _packed(entry, name, row["type"], value), value
    return block, values


def _packed(entry: dict, name: str, dtype: str, value: Any) -> bytes:
    try:
        if dtype == "f32" and not np.isfinite(value):
            raise ValueError("not finite")
        return struct.pack(_STRUCT[dtype], value)
    except (struct.error, TypeError, ValueError, OverflowError) as error:
        raise _bad(entry, f'takes a {dtype} as "{name}", found {value!r}') from error


def make_call(
    entry: dict,
    a: Any,
    b: Any = None,
    params: dict[str, Any] | None = None,
    *,
    output: Any = None,
    output_size: int | None = None,
    scratch: int | None = None,
) -> ExtCall:
    """One call of an extension kernel, every array flat, f32 and of the length that the pack says.

    `output` holds the output's values before the call (zeros if absent), for kernels that add to them; `output_size` is its length in
    numbers where the pack's shape does not say; `scratch` is in floats. Raises InvalidParameters, ShapeMismatch, DTypeMismatch
    or UnsupportedFeature.
    """
    block, values = pack_params(entry, params)
    sizes = {k: v for k, v in values.items() if isinstance(v, int | np.integer)}
    inputs, outputs = entry["inputs"], entry["outputs"]
    if not 1 <= len(inputs) <= 2 or len(outputs) != 1:
        raise _unsupported(entry, f"{len(inputs)} inputs and {len(outputs)} outputs (1 or 2 and 1 are)")
    if (b is None) != (len(inputs) == 1):
        raise _bad(entry, f"takes {len(inputs)} inputs: {', '.join(t['name'] for t in inputs)}")
    first = _array(entry, inputs[0], a, sizes)
    second = np.zeros(0, F32) if b is None else _array(entry, inputs[1], b, sizes)
    if output is None:
        output = np.zeros(_output_size(entry, outputs[0], sizes, output_size), F32)
    out = _array(entry, outputs[0], output, sizes)
    floats = scratch if scratch is not None else shape_size(entry.get("scratch") or [0], sizes) or 0
    if not isinstance(floats, int | np.integer) or floats < 0:
        raise _bad(entry, f"takes scratch as a whole number of floats, found {floats!r}")
    return ExtCall(entry["id"], block, first, second, out, int(floats))


def _output_size(entry: dict, tensor: dict, sizes: dict[str, int], asked: int | None) -> int:
    known = shape_size(tensor["shape"], sizes)
    size = known if asked is None else asked
    if size is None or not isinstance(size, int | np.integer) or size < 0:
        raise _bad(entry, f'does not say how long "{tensor["name"]}" is; give output_size in numbers, found {asked!r}')
    return int(size)


def _array(entry: dict, tensor: dict, given: Any, sizes: dict[str, int]) -> np.ndarray:
    if tensor["dtype"] != "f32":
        raise _unsupported(entry, f'the dtype {tensor["dtype"]} of "{tensor["name"]}"')
    if isinstance(given, np.ndarray) and given.dtype != F32:
        what = f'The kernel "{entry["id"]}" takes "{tensor["name"]}" as {tensor["dtype"]}, found {given.dtype}. Convert it first.'
        raise DTypeMismatch(what, kernel=entry["id"], name=tensor["name"])
    array, want = np.ascontiguousarray(given, F32).reshape(-1), shape_size(tensor["shape"], sizes)
    if want is not None and array.size != want:
        what = f'The kernel "{entry["id"]}" takes {want} numbers {tensor["shape"]} as "{tensor["name"]}", found {array.size}.'
        raise ShapeMismatch(what, kernel=entry["id"], name=tensor["name"], expected=want, found=int(array.size))
    return array


def _bad(entry: dict, what: str) -> InvalidParameters:
    return InvalidParameters(f'The kernel "{entry["id"]}" {what}.', kernel=entry["id"])


def _unsupported(entry: dict, what: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        f'The kernel "{entry["id"]}" has {what}, which EdgeNet cannot pass yet.', kernel=entry["id"]
    )
