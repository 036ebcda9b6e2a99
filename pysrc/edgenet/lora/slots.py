"""Which adapters lie in an engine's slots, within a budget of bytes; who was used longest ago goes first. Pure, runs anywhere."""

from collections.abc import Collection
from dataclasses import dataclass

from ..errors import AdapterPoolFull

SLOTS, BUDGET = 16, 256 << 20


@dataclass
class Held:
    """An adapter in a slot."""

    slot: int
    bytes: int
    pinned: bool = False


class Slots:
    """`held`: {id: Held}, the longest unused first. A pinned adapter stays until it is freed."""

    def __init__(self, count: int = SLOTS, budget: int = BUDGET):
        self.count, self.budget = count, budget
        self.held: dict[str, Held] = {}

    def take(self, id: str, size: int, busy: Collection[str] = ()) -> tuple[int, list[str]]:
        """(its slot, ids that left for it) of an adapter of `size` bytes, which counts as used now. `busy` ones stay too.

        Raises AdapterPoolFull, and nothing has changed, where those that may leave are not enough.
        """
        if id in self.held:
            self.held[id] = held = self.held.pop(id)
            return held.slot, []
        gone = self._leaving(id, size, busy)
        for other in gone:
            del self.held[other]
        taken = {held.slot for held in self.held.values()}
        slot = next(slot for slot in range(self.count) if slot not in taken)
        self.held[id] = Held(slot, size)
        return slot, gone

    def _leaving(self, id: str, size: int, busy: Collection[str]) -> list[str]:
        gone, count, room = [], len(self.held), self.budget - sum(held.bytes for held in self.held.values())
        leaving = (other for other, held in self.held.items() if not held.pinned and other not in busy)
        while count >= self.count or room < size:
            if (other := next(leaving, None)) is None:
                stay = len(self.held) - len(gone)
                raise AdapterPoolFull(
                    f"The adapter {id} needs {size} bytes and a slot; {stay} of {self.count} slots are pinned or in use and leave "
                    f"{max(room, 0)} of {self.budget} bytes. Unpin or unload an adapter.",
                    id=id,
                    bytes=size,
                )
            gone.append(other)
            count, room = count - 1, room + self.held[other].bytes
        return gone

    def restore(self, id: str, slot: int, size: int, pinned: bool) -> None:
        """Put an adapter where it lay before a restart, if there is room. Who comes later was used later and wins a slot that two claim."""
        for other in [other for other, held in self.held.items() if held.slot == slot]:
            del self.held[other]
        if slot < self.count and size <= self.budget - sum(held.bytes for held in self.held.values()):
            self.held[id] = Held(slot, size, pinned)

    def free(self, id: str) -> None:
        """Take an adapter out of its slot; one that is in none is no error."""
        self.held.pop(id, None)

    def pin(self, id: str, pinned: bool) -> None:
        """Keep the adapter in its slot, or no longer; one that is in none is no error."""
        if id in self.held:
            self.held[id].pinned = pinned
