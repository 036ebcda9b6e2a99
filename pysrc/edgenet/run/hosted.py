"""What the NumPy engines share: named arrays that the host writes and reads, sizes judged, life and end. Runs where NumPy does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import Disposed, InvalidOption, InvalidProgram, NoModel, WrongLength

DTYPES = {"f32": np.dtype("<f4"), "i32": np.dtype("<i4"), "u32": np.dtype("<u4"), "f64": np.dtype("<f8")}


class Hosted:
    """Base of an engine: `buffers` maps names to (array at capacity, shape with slots); `capacity_of` the largest slots."""

    def __init__(self):
        self.buffers: dict[str, tuple[np.ndarray, tuple[int | str, ...]]] | None = None
        self.most: Mapping[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.disposed = False

    def _ready(self) -> None:
        if self.disposed:
            raise Disposed("This engine was disposed; make a new one.")
        if self.buffers is None:
            raise NoModel("This engine holds no program; load one first.")

    def _array(self, name: str) -> tuple[np.ndarray, tuple[int | str, ...]]:
        self._ready()
        if name not in self.buffers:
            raise InvalidProgram(f"There is no buffer {name!r}; there are {', '.join(self.buffers)}.")
        return self.buffers[name]

    async def write(self, name: str, array) -> None:
        """Set a buffer, or its first rows."""
        own, _ = self._array(name)
        given = np.asarray(array)
        if given.ndim != own.ndim or given.shape[1:] != own.shape[1:] or len(given) > len(own):
            raise WrongLength(f"The buffer {name!r} holds {list(own.shape)}, found {list(given.shape)}.")
        own[: len(given)] = given

    async def read(self, name: str) -> np.ndarray:
        """A copy of a buffer as far as the last run's sizes go."""
        own, shape = self._array(name)
        return own[tuple(slice(self.sizes.get(s, self.most[s]) if isinstance(s, str) else s) for s in shape)].copy()

    def _sizes(self, slots: dict[str, int]) -> dict[str, int]:
        self._ready()
        for name, size in slots.items():
            if name not in self.most or not isinstance(size, int) or not 0 <= size <= self.most[name]:
                raise InvalidOption(f"run({name}={size!r}): sizes are integers up to {dict(self.most)}.")
        self.sizes = {**dict.fromkeys(self.most, 0), **slots}
        return self.sizes

    async def dispose(self) -> None:
        """Free everything."""
        self.buffers, self.disposed = None, True
