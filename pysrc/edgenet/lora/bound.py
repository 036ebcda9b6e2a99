"""An adapter in the rows of one GGUF file, as the engine takes it, and the way back. Needs NumPy; runs anywhere."""

from collections.abc import Iterable, Mapping

import numpy as np

from ..errors import AdapterMismatch
from .adapter import Adapter, base_id, config_of, require_base
from .config import LoraConfig
from .names import Place, places
from .safetensors import write

FORMAT = "edgenet-adapter"
Factors = tuple[np.ndarray, np.ndarray]  # A f32 (r, in), B f32 (out, r)


def bind(adapter: Adapter, header) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """[(site, A, B)] of a GGUF header: a site is a weight's name in a Program less `.weight`, rows are the file's, the scale is in B.

    Layer by layer in the header's order. Of a module whose rows lie apart, each part has the directions that its rows use; one
    that uses none is left out. Raises AdapterMismatch, or NotFinite where a scale makes B too large.
    """
    require_base(adapter, header)
    bound = []
    for module, parts in places(header).items():
        if module not in adapter.tensors:
            continue
        A, B = adapter.tensors[module]
        for part in parts:
            rows = adapter.scaled(part.to_file(B), module, adapter.scale(module))
            part_A, part_B = (A, rows) if len(parts) == 1 else used(A, rows)
            if len(part_A):
                bound.append((part.site, part_A, np.ascontiguousarray(part_B)))
    return bound


def unbind(factors: Mapping[str, Factors], header, config: LoraConfig) -> tuple[LoraConfig, dict[str, Factors]]:
    """(config, tensors) of an Adapter from factors by site, in the file's rows, as training leaves them: the scale is not in B.

    A module whose parts were trained apart becomes one of the sum of their ranks, with a scale that leaves what it does.
    Raises AdapterMismatch for a site that the header does not have.
    """
    tensors, scales, left = {}, {}, set(factors)
    for module, parts in places(header).items():
        if held := [part for part in parts if part.site in factors]:
            tensors[module] = _joined(held, sum(part.last - part.first for part in parts), factors)
            scales[module] = config.scale_of(module)
            left -= {part.site for part in held}
    if left:
        raise AdapterMismatch(f"This {header.architecture} model has no site {sorted(left)[0]!r}.", sites=sorted(left))
    return config_of({module: len(A) for module, (A, _) in tensors.items()}, scales, config), tensors


def _joined(parts: list[Place], out: int, factors: Mapping[str, Factors]) -> Factors:
    """One A and B of parts with factors of their own: A below A, B's columns side by side, each in its part's rows."""
    pieces = [(part, *factors[part.site]) for part in parts]
    B, at = np.zeros((out, sum(len(A) for _, A, _ in pieces)), np.float32), 0
    for part, A, rows in pieces:
        B[part.start : part.start + len(rows), at : at + len(A)] = part.from_file(rows)
        at += len(A)
    return np.concatenate([A for _, A, _ in pieces]), B


def used(A: np.ndarray, B: np.ndarray) -> Factors:
    """The same product without the directions whose column of B is zero."""
    kept = B.any(axis=0)
    return A[kept], B[:, kept]


def engine_bytes(adapter: Adapter, header) -> bytes:
    """The safetensors file that the engine loads for this header: f32 `<site>.lora_a` (r, in), `<site>.lora_b` (out, r) with the scale.

    Its metadata: `format` "edgenet-adapter", `id`, `name`, `base_id`, `base_sha256`, `family`, `checksum`. Raises AdapterMismatch.
    """
    bound = bind(adapter, header)
    about = {
        "format": FORMAT,
        "id": adapter.id,
        "name": adapter.name,
        "base_id": base_id(header),
        "base_sha256": adapter.base_sha256,
    }
    about |= {"family": header.architecture, "checksum": adapter.checksum}
    return write(dict(_named(bound)), about)


def _named(bound: Iterable[tuple[str, np.ndarray, np.ndarray]]):
    for site, A, B in bound:
        yield f"{site}.lora_a", A
        yield f"{site}.lora_b", B
