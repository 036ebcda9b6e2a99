"""Memory in blocks that come and go: a new one lies at the lowest place where it fits. Pure; runs anywhere."""

from ..kernels.lm.interpreter import align


class Heap:
    """Blocks above `base`, at multiples of 64. `end` is behind the last; what was given back below it is taken again first."""

    def __init__(self, base: int):
        self.base = align(base)
        self._blocks: dict[int, int] = {}  # address -> end

    @property
    def end(self) -> int:
        return max(self._blocks.values(), default=self.base)

    def take(self, size: int) -> int:
        """The address of a new block of at least one line."""
        size, at = align(max(size, 1)), self.base
        for start, end in sorted(self._blocks.items()):
            if start - at >= size:
                break
            at = end
        self._blocks[at] = at + size
        return at

    def give(self, address: int) -> None:
        """The block is free."""
        del self._blocks[address]
