"""The face of every engine. Runs anywhere; a NumPy array here is any C-contiguous array of the buffer's dtype.

Coroutines, because in a page an engine is another worker; in CPython they never suspend.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from ..graph import Program

# A weight's name -> its type in the file (a key of `formats.types.TYPES`) and its bytes there.
Weights = Callable[[str], tuple[str, bytes]]


class Engine(Protocol):
    """Holds a Program and its weights, and others beside it over the same weights. Any call after `dispose` raises Disposed, any but
    `load` before it NoModel. `program`: the name of an added one, InvalidOption if there is none; None is the loaded one.
    """

    async def load(self, program: Program, weights: Weights) -> None:
        """Take a Program, which is validated first, and its weights. Raises InvalidProgram, WrongLength."""

    async def add(self, programs: Mapping[str, Program]) -> None:
        """Take more Programs, all or none. They share one state, zeros at first. Raises InvalidProgram, ProgramMismatch (weights that
        are not the loaded one's, another cache, states in other places), InvalidOption for a name that is taken, ModelTooLarge.
        """

    async def drop(self, names: Iterable[str]) -> None:
        """Free added Programs, and the state once nobody shares it. Raises InvalidOption."""

    async def write(self, name: str, array: Any, program: str | None = None, first: int = 0) -> None:
        """Set an input buffer or a state, or some of its rows, from `first` on. Raises InvalidProgram for an unknown name, WrongLength
        for too many rows.
        """

    async def run(self, program: str | None = None, **slots: int) -> None:
        """Run once with these sizes, as `run(n=3, m=1, s=1)`. Raises InvalidOption for a size out of range, KernelTrap."""

    async def read(self, name: str, program: str | None = None) -> Any:
        """A copy of a buffer, its first axis as long as the last run's size. Raises InvalidProgram for an unknown name."""

    async def dispose(self) -> None:
        """Free everything. May be called twice."""
