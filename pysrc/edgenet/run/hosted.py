"""What engines in Python share: named arrays that the host writes and reads, sizes judged, life and end. Runs where NumPy does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import Disposed, InvalidOption, InvalidProgram, NoModel, WrongLength
from ..graph.sizes import Shape

DTYPES = {"f32": np.dtype("<f4"), "i32": np.dtype("<i4"), "u32": np.dtype("<u4"), "f64": np.dtype("<f8")}


@dataclass
class Held:
    """One Program of an engine. `most`: the largest sizes; `sizes`: those of the last run; `buffers`: name -> (array at the largest
    sizes, shape with slots).
    """

    most: Mapping[str, int]
    buffers: dict[str, tuple[np.ndarray, Shape]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


class Hosted:
    """Base of an engine: `held` has the loaded Program under None, added ones under their names."""

    def __init__(self):
        self.held: dict[str | None, Held] = {}
        self.disposed = False

    @property
    def buffers(self) -> dict[str, tuple[np.ndarray, Shape]]:
        """Of the loaded Program."""
        return self._of(None).buffers

    def _of(self, program: str | None) -> Held:
        if self.disposed:
            raise Disposed("This engine was disposed; make a new one.")
        if None not in self.held:
            raise NoModel("This engine holds no program; load one first.")
        if program not in self.held:
            names = ", ".join(filter(None, self.held)) or "none but the loaded one"
            raise InvalidOption(f"There is no Program {program!r} in this engine; it holds {names}. Add it first.")
        return self.held[program]

    def _array(self, name: str, program: str | None) -> tuple[np.ndarray, Shape]:
        buffers = self._of(program).buffers
        if name not in buffers:
            raise InvalidProgram(f"There is no buffer {name!r}; there are {', '.join(buffers)}.")
        return buffers[name]

    async def write(self, name: str, array, program: str | None = None, first: int = 0) -> None:
        """Set a buffer, or some of its rows, from `first` on."""
        own, _ = self._array(name, program)
        given = np.asarray(array)
        if given.ndim != own.ndim or given.shape[1:] != own.shape[1:] or not 0 <= first <= len(own) - len(given):
            raise WrongLength(f"The buffer {name!r} holds {list(own.shape)}, found {list(given.shape)} at row {first}.")
        own[first : first + len(given)] = given

    async def read(self, name: str, program: str | None = None) -> np.ndarray:
        """A copy of a buffer as far as the last run's sizes go."""
        own, shape = self._array(name, program)
        it = self._of(program)
        return own[tuple(slice(it.sizes.get(s, it.most[s]) if isinstance(s, str) else s) for s in shape)].copy()

    async def drop(self, names: Iterable[str]) -> None:
        """Free added Programs, all or none."""
        going = {name: self._of(name) for name in names}
        if None in going:
            raise InvalidOption("The loaded Program goes with the engine: dispose it.")
        for name, held in going.items():
            self._free(held)
            del self.held[name]

    def _free(self, held: Held) -> None:
        """What an engine gives back when one of its Programs goes."""

    def _sizes(self, program: str | None, slots: dict[str, int]) -> Held:
        """The Program, its sizes of this run set."""
        it = self._of(program)
        for name, size in slots.items():
            if name not in it.most or not isinstance(size, int) or not 0 <= size <= it.most[name]:
                raise InvalidOption(f"run({name}={size!r}): sizes are integers up to {dict(it.most)}.")
        it.sizes = {**dict.fromkeys(it.most, 0), **slots}
        return it

    async def dispose(self) -> None:
        """Free everything."""
        self.held, self.disposed = {}, True
