"""The face of every engine. Runs anywhere; a NumPy array here is any C-contiguous array of the buffer's dtype.

Coroutines, because in a page an engine is another worker; in CPython they never suspend.
"""

from collections.abc import Callable
from typing import Any, Protocol

from ..graph import Program

# A weight's name -> its type in the file (a key of `formats.types.TYPES`) and its bytes there.
Weights = Callable[[str], tuple[str, bytes]]


class Engine(Protocol):
    """Holds one Program and its weights. Any call after `dispose` raises Disposed, any but `load` before it NoModel."""

    async def load(self, program: Program, weights: Weights) -> None:
        """Take a Program, which is validated first, and its weights. Raises InvalidProgram, WrongLength."""

    async def write(self, name: str, array: Any) -> None:
        """Set an input buffer, or its first rows. Raises InvalidProgram for an unknown name, WrongLength for too many rows."""

    async def run(self, **slots: int) -> None:
        """Run once with these sizes, as `run(n=3, m=1, s=1)`. Raises InvalidOption for a size out of range, KernelTrap."""

    async def read(self, name: str) -> Any:
        """A copy of a buffer, its first axis as long as the last run's size. Raises InvalidProgram for an unknown name."""

    async def dispose(self) -> None:
        """Free everything. May be called twice."""
