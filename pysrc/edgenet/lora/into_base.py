"""An adapter merged into its base: a GGUF file streamed into a new one, row by row. NumPy; runs anywhere; opens nothing.

A matrix that the adapter changes is dequantised, changed and quantised again; all other tensors are copied. Weights of few bits take up
small changes badly: what they do not take up is measured and reported.
"""

import math
import re
from asyncio import sleep
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import UnsupportedTensorType
from ..formats.blocks import FIELDS, QUANTIZED, dequantize, quantize
from ..formats.gguf import Header, TensorInfo
from ..formats.gguf_write import Tensor, pieces
from ..formats.types import row_bytes
from .adapter import Adapter
from .bound import bind
from .low_rank import Factors, tiles
from .merge import Show

COPIED = 4 << 20  # bytes of an unchanged tensor that are read at once
_SITE = re.compile(r"(.+?)(?:\[(\d+):(\d+)\])?")
Read = Callable[[int, int, int], bytes]  # (part, offset, length)


@dataclass
class _Target:
    """A matrix that changes. `deltas`: (first row, what is added from there on); sums of squares of the change, and of what it missed."""

    info: TensorInfo
    type: str
    deltas: list[tuple[int, Factors]] = field(default_factory=list)
    change: float = 0.0
    missed: float = 0.0

    def data(self, read: Read) -> Iterator[bytes]:
        """The new tensor's bytes, a tile of rows at a time."""
        info, columns = self.info, self.info.shape[1]
        width = row_bytes(info.type, columns)
        for part in tiles(info.shape):
            rows = part.stop - part.start
            raw = read(info.part, info.offset + part.start * width, rows * width)
            before, change = dequantize(info.type, raw, rows, columns), self._change(part)
            made = quantize(self.type, before + change)
            self.change += _energy(change)
            self.missed += _energy(dequantize(self.type, made, rows, columns) - before - change)
            yield made

    def _change(self, part: slice) -> np.ndarray:
        """f32 (rows, in): the deltas' rows that lie in this tile, zeros where there are none."""
        change = np.zeros((part.stop - part.start, self.info.shape[1]), np.float32)
        for first, delta in self.deltas:
            low, high = max(part.start, first), min(part.stop, first + delta.shape[0])
            if low < high:
                change[low - part.start : high - part.start] += delta.rows(slice(low - first, high - first))
        return change

    @property
    def report(self) -> dict:
        error = math.sqrt(self.missed / self.change) if self.change else 0.0
        return {"tensor": self.info.name, "from": self.info.type, "to": self.type, "error": error}


async def merged_into_base(
    header: Header,
    read: Read,
    adapter: Adapter,
    write: Callable[[bytes], None],
    *,
    type_name: str = "",
    show: Show = lambda done, total, name: None,
) -> dict:
    """Writes the GGUF file of the base with the adapter in it, in order, by `write`; `read(part, offset, length)` gives the base's bytes.

    type_name: what changed matrices are quantised to; "": each to its own type. One file comes out, also of a base in several parts.
    Returns `{tensors: [{tensor, from, to, error}], error, bytes}`; an error is what quantising lost of the change, over the change
    (Frobenius norms).
    Can be cancelled between two pieces. Raises AdapterMismatch, UnsupportedTensorType, InvalidGguf before the first byte; NotFinite.
    """
    targets = _targets(header, adapter, type_name)
    tensors = [_tensor(info, targets.get(info.name), read) for info in header.tensors.values()]
    told = _metadata(header, adapter)
    kept = {key: value for key, value in header.metadata.items() if not _outdated(key, targets)}
    types = {key: kind for key, kind in header.types.items() if key not in told}
    done, total = 0, sum(tensor.bytes for tensor in tensors)
    show(0, total, "")
    for piece in pieces(kept | told, tensors, types):
        write(piece)
        done += len(piece)
        show(min(done, total), total, "")
        await sleep(0)
    return _report(list(targets.values()), done)


def _targets(header: Header, adapter: Adapter, type_name: str) -> dict[str, _Target]:
    """{tensor's name: how it changes}, all that could fail judged."""
    targets: dict[str, _Target] = {}
    for site, A, B in bind(adapter, header):
        tensor, first, _ = _SITE.fullmatch(site).groups()
        info = header.tensors[f"{tensor}.weight"]
        target = targets.setdefault(info.name, _Target(info, type_name or info.type))
        target.deltas.append((int(first or 0), Factors(A, B)))
    for target in targets.values():
        _require_types(target)
    return targets


def _require_types(target: _Target) -> None:
    """Raises UnsupportedTensorType, or InvalidGguf where rows are no whole number of the new type's blocks."""
    if target.info.type not in FIELDS or target.type not in QUANTIZED:
        raise UnsupportedTensorType(
            f"{target.info.name} is {target.info.type} and would become {target.type}: EdgeNet writes {', '.join(QUANTIZED)}. "
            "Choose one of these for the matrices that change, such as q8_0.",
            tensor=target.info.name,
            type=target.type,
        )
    row_bytes(target.type, target.info.shape[1])


def _tensor(info: TensorInfo, target: _Target | None, read: Read) -> Tensor:
    if target:
        return Tensor(info.name, target.type, info.shape, target.data(read))
    return Tensor(info.name, info.type, info.shape, _copied(info, read))


def _copied(info: TensorInfo, read: Read) -> Iterator[bytes]:
    for at in range(0, info.bytes, COPIED):
        yield read(info.part, info.offset + at, min(COPIED, info.bytes - at))


def _metadata(header: Header, adapter: Adapter) -> dict:
    """What the new file says of itself: GGUF's standard keys, and which adapter it holds."""
    base = header.get("general.name", str, header.architecture)
    return {
        "general.name": f"{base} + {adapter.name}",
        "general.finetune": adapter.name,
        "general.base_model.count": 1,
        "general.base_model.0.name": base,
        "edgenet.adapter.name": adapter.name,
        "edgenet.adapter.id": adapter.id,
        "edgenet.adapter.checksum": adapter.checksum,
        "edgenet.adapter.base_id": adapter.base_id,
    }


def _outdated(key: str, targets: dict[str, _Target]) -> bool:
    """Whether the new file is not what the old one said by this key: parts, what the base was made from, maybe its mix of types."""
    retyped = any(target.type != target.info.type for target in targets.values())
    return key.startswith(("split.", "general.base_model.")) or retyped and key == "general.file_type"


def _report(targets: list[_Target], size: int) -> dict:
    change, missed = sum(t.change for t in targets), sum(t.missed for t in targets)
    error = math.sqrt(missed / change) if change else 0.0
    return {"tensors": [target.report for target in targets], "error": error, "bytes": size}


def _energy(values: np.ndarray) -> float:
    return float(np.square(values, dtype=np.float64).sum())
