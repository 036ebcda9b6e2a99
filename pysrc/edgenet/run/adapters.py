"""Adapters in an engine of this process: compiled for when the first is loaded, placed in its pool, mixed into runs. Needs NumPy.

One request at a time, as Python hosts have it: what is loaded stays known, and the pool holds what was used last. Twin of
`web/engine/lm/adapters.js`, which serves many requests at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from ..errors import AdapterNotFound, AdapterPoolFull, InvalidOption
from ..graph import Capacity
from ..lora.adapter import Adapter
from ..lora.bound import bind
from ..models.adapted import compile_adapted
from ..models.training import Values
from .face import Engine

# Name of the Program. The SDK's worker has one of this name for its own requests: a page's Python never shares an engine with those
# (`host/browser_models.py` opens sessions of its own), and where somebody made it so, the second to come is refused: the name is taken.
ADAPTED = "adapted"
Choice = str | Mapping[str, float] | Sequence[str] | None  # ids, at scale 1 or with their scales


@dataclass
class _Known:
    """`factors`: the table's row, A f32 (r, in), B f32 (out, r). `first`: value of the pool where they begin."""

    factors: list[tuple[int, np.ndarray, np.ndarray]]
    first: int = 0

    @property
    def size(self) -> int:
        return sum(a.size + b.size for _, a, b in self.factors)


class EngineAdapters:
    """Adapters beside the weights of a loaded engine. `capacity`: of its Program; `numbers`: as `models.build` takes them."""

    def __init__(self, engine: Engine, header, capacity: Capacity, numbers: Values | None = None):
        self._engine, self._header, self._capacity, self._numbers = engine, header, capacity, numbers
        self._rows: dict[str, int] = {}  # site -> row of the table; empty until the Program is there
        self._slots, self._values = 0, 0
        self._known: dict[str, _Known] = {}  # the one used longest ago first
        self._held: list[str | None] = []  # by slot

    @property
    def ids(self) -> list[str]:
        """Of those loaded."""
        return sorted(self._known)

    async def load(self, adapter: Adapter, id: str | None = None) -> str:  # noqa: A002
        """Take an adapter under an id, its own name if none is given; answer the id. One of the same id is replaced.

        Raises AdapterMismatch, AdapterPoolFull for one larger than the pool, NotSupported for a model without a place for adapters.
        """
        bound = bind(adapter, self._header)
        if not self._rows:
            await self._prepare()
        known, name = _Known([(self._rows[site], a, b) for site, a, b in bound]), id or adapter.name
        if known.size > self._values:
            raise AdapterPoolFull(
                f"The adapter {name!r} has {known.size} values, the pool room for {self._values}. Train one with a lower rank.",
                needed=4 * known.size,
                bytes=4 * self._values,
            )
        self.unload(name, missing_ok=True)
        self._known[name] = known
        return name

    def unload(self, id: str, missing_ok: bool = False) -> None:  # noqa: A002
        """Forget an adapter. Raises AdapterNotFound."""
        if not missing_ok:
            self._find(id)
        self._known.pop(id, None)
        self._held = [None if held == id else held for held in self._held]

    def choice(self, given: Choice) -> dict[str, float]:
        """{id: scale} of what a request wants, by id; without those of scale 0. Raises AdapterNotFound, InvalidOption."""
        pairs = (
            given.items()
            if isinstance(given, Mapping)
            else [(i, 1.0) for i in ([given] if isinstance(given, str) else given or ())]
        )
        wanted: dict[str, float] = {}
        for name, scale in pairs:
            if not isinstance(name, str) or name in wanted or not (isinstance(scale, Real) and np.isfinite(scale)):
                raise InvalidOption(
                    f"A request names each adapter once, by its id, with a finite scale; found {name!r} at {scale!r}.",
                    option="adapters",
                )
            self._find(name)
            wanted[name] = float(scale)
        return {name: wanted[name] for name in sorted(wanted) if wanted[name]}

    async def mix(self, wanted: Mapping[str, float], rows: int) -> None:
        """Put these adapters into the pool, and their scales into the mix of `rows` rows. Raises AdapterPoolFull."""
        for name in wanted:
            self._known[name] = self._known.pop(name)  # used last
        if any(name not in self._held for name in wanted):
            await self._place(wanted)
        row = np.zeros(self._slots, np.float32)
        for name, scale in wanted.items():
            row[self._held.index(name)] = scale
        await self._engine.write("mix", np.tile(row, (rows, 1)), ADAPTED)

    async def _prepare(self) -> None:
        made = compile_adapted(self._header, self._capacity, self._numbers)
        await self._engine.add({ADAPTED: made.program})
        self._slots, self._values = made.program.capacity.adapters
        self._held = [None] * self._slots
        self._rows = {site: row for row, (site, _, _) in enumerate(made.sites)}

    async def _place(self, wanted: Iterable[str]) -> None:
        """The pool anew: those of the request, then what was used last, as far as there is room."""
        held, end = [], 0
        for name in reversed(self._known):
            if end + self._known[name].size <= self._values and len(held) < self._slots:
                self._known[name].first = end
                held.append(name)
                end += self._known[name].size
        if away := [name for name in wanted if name not in held]:
            raise AdapterPoolFull(
                f"{', '.join(away)}: so many adapters have no room together. Ask for fewer at once.",
                bytes=4 * self._values,
            )
        self._held = held + [None] * (self._slots - len(held))
        table = np.zeros((len(self._rows), self._slots, 4), np.int32)
        for slot, name in enumerate(held):
            await self._write(self._known[name], table[:, slot])
        await self._engine.write("table", table.reshape(len(table), -1), ADAPTED)

    async def _write(self, known: _Known, table: np.ndarray) -> None:
        """The factors into the pool; `table` (sites, 4): this slot's entries."""
        at = known.first
        for row, a, b in known.factors:
            table[row] = at, at + a.size, len(a), 0
            at += a.size + b.size
        values = np.concatenate([factor.ravel() for _, *pair in known.factors for factor in pair])
        await self._engine.write("pool", values, ADAPTED, known.first)

    def _find(self, name: str) -> None:
        if name not in self._known:
            raise AdapterNotFound(
                f"No adapter {name!r} is loaded; loaded: {', '.join(self.ids) or 'none'}. Load it first.", id=name
            )
