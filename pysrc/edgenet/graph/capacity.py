"""What a Program is planned for: the largest run it can be asked for, and how it keeps K and V. Runs anywhere."""

from dataclasses import asdict, dataclass

from ..errors import InvalidGraph
from ..kernels.lm.table import KV_NAMES

_LIMITS = {
    # field: (least, most); the product of any two stays far below 2^53
    "rows": (1, 4096),
    "wanted": (1, 4096),
    "sequences": (1, 1024),
    "context": (1, 1 << 20),
    "page": (1, 1024),
    "pages": (1, 1 << 24),
}


@dataclass(frozen=True)
class Capacity:
    """Constants of a Program. `rows`: rows of one run; `wanted`: rows whose output is asked for; `sequences` that run together;
    `context`: tokens of one sequence, a multiple of `page`; `pages` of KV memory (0: every sequence at full context);
    `kv`: how K and V are kept; `sample`: whether a token is drawn from the logits.

    Raises InvalidGraph for a field out of its limits.
    """

    rows: int = 32
    wanted: int = 4
    sequences: int = 4
    context: int = 2048
    page: int = 16
    pages: int = 0
    kv: str = "f32"
    sample: bool = True

    def __post_init__(self):
        if self.pages == 0 and isinstance(self.context, int) and isinstance(self.page, int) and self.page > 0:
            object.__setattr__(self, "pages", self.sequences * -(-self.context // self.page))
        for name, (least, most) in _LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise InvalidGraph(f"Capacity: {name} must be an integer from {least} to {most}, found {value!r}.")
        if self.kv not in KV_NAMES:
            raise InvalidGraph(f"Capacity: kv must be one of {', '.join(KV_NAMES)}, found {self.kv!r}.")
        if self.context % self.page:
            raise InvalidGraph(f"Capacity: context {self.context} must be a multiple of page {self.page}.")

    @property
    def slots(self) -> dict[str, int]:
        """The sizes that a run chooses, in the order of their slot numbers, and the largest each may be."""
        return {"n": self.rows, "m": self.wanted, "s": self.sequences}

    @property
    def max_pages(self) -> int:
        """Pages of one sequence at full context: the width of the page table."""
        return self.context // self.page

    def to_data(self) -> dict:
        """The fields as JSON data."""
        return asdict(self)
