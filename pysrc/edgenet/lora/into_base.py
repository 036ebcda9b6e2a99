"""An adapter merged into its base: a GGUF file streamed into a new one, row by row. NumPy; runs anywhere; opens nothing.

A matrix that the adapter changes is dequantised, changed and quantised again; all other tensors are copied. Weights of few bits take up
small changes badly: what they do not take up is measured and reported. The new file's bytes are the same wherever it is made.
"""

import math
import re
from asyncio import sleep
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from ..errors import NotFinite, UnsupportedTensorType
from ..formats.blocks import FIELDS, QUANTIZED, dequantize, quantize
from ..formats.gguf import Header, TensorInfo
from ..formats.gguf_write import Tensor, plan, streamed
from ..formats.types import row_bytes
from .adapter import Adapter
from .bound import bind
from .low_rank import tiles
from .merge import Show

READ = 4 << 20  # bytes, or weights, of the base that are read at once
_SITE = re.compile(r"(.+?)(?:\[(\d+):(\d+)\])?")
Read = Callable[[int, int, int], Awaitable[bytes]]  # (part, offset, length)
Write = Callable[[bytes], Awaitable[None]]


async def _nothing(size: int) -> None:
    pass


@dataclass
class _Target:
    """A matrix that changes. `deltas`: (first row, A, B), where B A is added. Sums of squares of the change, and of what it missed."""

    info: TensorInfo
    type: str
    deltas: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)
    change: float = 0.0
    missed: float = 0.0

    async def data(self, read: Read) -> AsyncIterator[bytes]:
        """The new tensor's bytes, a tile of rows at a time."""
        info, columns = self.info, self.info.shape[1]
        width = row_bytes(info.type, columns)
        for run in tiles(info.shape, READ):
            raw = memoryview(await read(info.part, info.offset + run.start * width, (run.stop - run.start) * width))
            for part in tiles((run.stop - run.start, columns)):
                yield self._changed(run.start + part.start, raw[part.start * width : part.stop * width])

    def _changed(self, first: int, raw: memoryview) -> bytes:
        """New bytes for these old ones, whole rows from row `first` on."""
        columns = self.info.shape[1]
        rows = len(raw) // row_bytes(self.info.type, columns)
        before, change = dequantize(self.info.type, raw, rows, columns), self._change(slice(first, first + rows))
        made = quantize(self.type, before + change)
        self.change += _energy(change)
        self.missed += _energy(dequantize(self.type, made, rows, columns) - before - change)
        return made

    def _change(self, part: slice) -> np.ndarray:
        """f32 (rows, in): the deltas' rows that lie in this tile, zeros where there are none. Raises NotFinite."""
        change = np.zeros((part.stop - part.start, self.info.shape[1]), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for first, A, B in self.deltas:
                low, high = max(part.start, first), min(part.stop, first + len(B))
                if low < high:
                    _add_product(change[low - part.start : high - part.start], B[low - first : high - first], A)
        if not np.isfinite(change).all():
            raise NotFinite(f"What the adapter adds to {self.info.name} is beyond f32: its factors are too large.")
        return change

    @property
    def report(self) -> dict:
        error = math.sqrt(self.missed / self.change) if self.change else 0.0
        return {"tensor": self.info.name, "from": self.info.type, "to": self.type, "error": error}


async def merged_into_base(
    header: Header,
    read: Read,
    adapter: Adapter,
    write: Write,
    *,
    type_name: str = "",
    begin: Callable[[int], Awaitable[None]] = _nothing,
    show: Show = lambda done, total, name: None,
) -> dict:
    """Writes the GGUF file of the base with the adapter in it, in order, by `write`; `read(part, offset, length)` gives the base's bytes.

    type_name: what changed matrices are quantised to; "": each to its own type. One file comes out, also of a base in several parts.
    begin: told the new file's bytes once all is judged, before the first is written; `show` is told how many of them are.
    Returns `{tensors: [{tensor, from, to, error}], error, bytes}`; an error is what quantising lost of the change, over the change
    (Frobenius norms).
    Ends between two pieces when it is cancelled or `show` raises. Raises AdapterMismatch, UnsupportedTensorType, InvalidGguf before the
    first byte; NotFinite.
    """
    targets = _targets(header, adapter, type_name)
    tensors = [_tensor(info, targets.get(info.name), read) for info in header.tensors.values()]
    told = _metadata(header, adapter)
    kept = {key: value for key, value in header.metadata.items() if not _outdated(key, targets)}
    types = {key: kind for key, kind in header.types.items() if key not in told}
    made, done = plan(kept | told, tensors, types), 0
    await begin(made.bytes)
    show(0, made.bytes, "")
    async for piece in streamed(made):
        await write(piece)
        done += len(piece)
        show(done, made.bytes, "")
        await sleep(0)
    return _report(list(targets.values()), done)


def _targets(header: Header, adapter: Adapter, type_name: str) -> dict[str, _Target]:
    """{tensor's name: how it changes}, all that could fail judged."""
    targets: dict[str, _Target] = {}
    for site, A, B in bind(adapter, header):
        tensor, first, _ = _SITE.fullmatch(site).groups()
        info = header.tensors[f"{tensor}.weight"]
        target = targets.setdefault(info.name, _Target(info, type_name or info.type))
        target.deltas.append((int(first or 0), A, B))
    for target in targets.values():
        _require_types(target)
    return targets


def _require_types(target: _Target) -> None:
    """Raises UnsupportedTensorType, or InvalidGguf where rows are no whole number of the new type's blocks."""
    if target.info.type not in FIELDS or target.type not in QUANTIZED:
        raise UnsupportedTensorType(
            f"{target.info.name} is {target.info.type} and would become {target.type}: EdgeNet writes {', '.join(QUANTIZED)}. "
            'Choose one of these as the type of the matrices that change, such as type: "q8_0" (--type q8_0).',
            tensor=target.info.name,
            type=target.type,
        )
    row_bytes(target.type, target.info.shape[1])


def _tensor(info: TensorInfo, target: _Target | None, read: Read) -> Tensor:
    if target:
        return Tensor(info.name, target.type, info.shape, target.data(read))
    return Tensor(info.name, info.type, info.shape, _copied(info, read))


async def _copied(info: TensorInfo, read: Read) -> AsyncIterator[bytes]:
    for at in range(0, info.bytes, READ):
        yield await read(info.part, info.offset + at, min(READ, info.bytes - at))


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


def _add_product(into: np.ndarray, B: np.ndarray, A: np.ndarray) -> None:
    """into f32 (rows, in) += B (rows, rank) A (rank, in), one direction after the other: a BLAS sums in an order of its machine's own."""
    product = np.empty_like(into)
    for b, a in zip(B.T, A, strict=True):
        into += np.multiply(b[:, None], a, out=product)


def _energy(values: np.ndarray) -> float:
    return float(np.square(values, dtype=np.float64).sum())
