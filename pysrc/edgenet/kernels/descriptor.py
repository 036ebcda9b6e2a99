"""ADR-005's kernel descriptor: 40 bytes, ten little-endian u32, at byte 0 of an extension kernel's own memory. Pure; runs anywhere.

The host lays regions out by itself and checks every descriptor before a call, also those it made: a wrong one would be silent corruption.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields

from ..errors import InvalidParameters, MemoryAccessViolation

BYTES, RESERVED, ALIGN, U32 = 40, 64, 16, 1 << 32


@dataclass(frozen=True)
class Region:
    """Bytes [offset, offset + size) of a kernel's memory; size 0 means absent."""

    offset: int = 0
    size: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class Descriptor:
    """The five regions of a call, in the order of the wire format."""

    a: Region = Region()
    b: Region = Region()
    out: Region = Region()
    scratch: Region = Region()
    params: Region = Region()

    def regions(self) -> dict[str, Region]:
        """Regions that are present, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name).size}

    def pack(self) -> bytes:
        """The 40 bytes."""
        return struct.pack(
            "<10I", *(n for f in fields(self) for n in (getattr(self, f.name).offset, getattr(self, f.name).size))
        )

    @staticmethod
    def unpack(data: bytes) -> Descriptor:
        """Inverse of `pack`. Raises InvalidParameters when there are not 40 bytes."""
        if len(data) != BYTES:
            raise InvalidParameters(f"A kernel descriptor has {BYTES} bytes, found {len(data)}.")
        n = struct.unpack("<10I", data)
        return Descriptor(*(Region(n[i], n[i + 1]) for i in range(0, 10, 2)))

    def check(self, memory_bytes: int) -> None:
        """Raise MemoryAccessViolation for a region outside memory or in bytes 0..63, InvalidParameters for
        misalignment or an output that overlaps.
        """
        present = self.regions()
        for name, r in present.items():
            if (
                not (0 <= r.offset < U32 and 0 <= r.size < U32 and r.end <= min(memory_bytes, U32))
                or r.offset < RESERVED
            ):
                raise MemoryAccessViolation(
                    f'Region "{name}" is bytes {r.offset}..{r.end}; a kernel may use {RESERVED}..{memory_bytes}.',
                    offset=r.offset,
                    size=r.size,
                )
            if r.offset % ALIGN:
                raise InvalidParameters(
                    f'Region "{name}" begins at {r.offset}, which is not a multiple of {ALIGN}.', region=name
                )
        out = present.get("out")
        for name, r in present.items():
            if out and r is not out and r.offset < out.end and out.offset < r.end:
                raise InvalidParameters(
                    f'The output (bytes {out.offset}..{out.end}) overlaps "{name}" ({r.offset}..{r.end}).', region=name
                )


def layout(sizes: dict[str, int], base: int) -> Descriptor:
    """Regions of these sizes in bytes one after another above `base` (the module's `__heap_base`), each aligned."""
    at, regions = max(base, RESERVED), {}
    for name, size in sizes.items():
        at = (at + ALIGN - 1) & ~(ALIGN - 1)
        regions[name] = Region(at if size else 0, size)
        at += size
    return Descriptor(**regions)
