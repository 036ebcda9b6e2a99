"""What a Program is planned for: the largest run it can be asked for, and how it keeps K and V. Runs anywhere."""

from dataclasses import asdict, dataclass
from typing import NamedTuple

from ..errors import InvalidGraph
from ..kernels.lm.table import KV_NAMES

# The sizes that a run chooses, in the order of their slot numbers -> what each is bounded by.
SLOTS = {"n": "rows", "m": "wanted", "s": "sequences"}
LIMITS = {
    # field: (least, most); the product of any two stays far below 2^53
    "rows": (1, 4096),
    "wanted": (1, 4096),
    "sequences": (1, 1024),
    "context": (1, 1 << 20),
    "page": (1, 1024),
    "pages": (1, 1 << 24),
}
ADAPTER_LIMITS = {"slots": (1, 256), "values": (1, 1 << 30)}
DOTS = ("int8", "f32")
_DEFAULTS = {"dots": DOTS[0], "adapters": None}  # not written: Programs without training have no word of them


class Adapters(NamedTuple):
    """The pool of an adapted Program: how many adapters it holds, and the f32 values of all their factors together."""

    slots: int
    values: int


@dataclass(frozen=True)
class Capacity:
    """Constants of a Program. `rows`: rows of one run; `wanted`: rows whose output is asked for; `sequences` that run together;
    `context`: tokens of one sequence, a multiple of `page`; `pages` of KV memory (0: every sequence at full context);
    `kv`: how K and V are kept; `sample`: whether a token is drawn from the logits; `dots`: whether rows are quantised to meet quantised
    weights ("int8"), or weights expanded to f32; `adapters`: the pool of an adapted Program, as a mapping of `slots` and `values` too.

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
    dots: str = DOTS[0]
    adapters: Adapters | None = None

    def __post_init__(self):
        if self.pages == 0 and isinstance(self.context, int) and isinstance(self.page, int) and self.page > 0:
            object.__setattr__(self, "pages", self.sequences * -(-self.context // self.page))
        for name, limits in LIMITS.items():
            _judge(name, getattr(self, name), *limits)
        for name, known in (("kv", KV_NAMES), ("dots", DOTS)):
            if getattr(self, name) not in known:
                raise InvalidGraph(
                    f"Capacity: {name} must be one of {', '.join(known)}, found {getattr(self, name)!r}."
                )
        if self.context % self.page:
            raise InvalidGraph(f"Capacity: context {self.context} must be a multiple of page {self.page}.")
        if self.adapters is not None:
            given = self.adapters._asdict() if isinstance(self.adapters, Adapters) else self.adapters
            for name, limits in ADAPTER_LIMITS.items():
                _judge(f"adapters.{name}", given.get(name), *limits)
            object.__setattr__(self, "adapters", Adapters(*(given[name] for name in ADAPTER_LIMITS)))

    @property
    def slots(self) -> dict[str, int]:
        """The largest that each size of SLOTS may be."""
        return {name: getattr(self, bound) for name, bound in SLOTS.items()}

    @property
    def max_pages(self) -> int:
        """Pages of one sequence at full context: the width of the page table."""
        return self.context // self.page

    def to_data(self) -> dict:
        """The fields as JSON data; `dots` and `adapters` only where they are not the default."""
        given = asdict(self) | {"adapters": self.adapters and self.adapters._asdict()}
        return {name: value for name, value in given.items() if name not in _DEFAULTS or value != _DEFAULTS[name]}


def _judge(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidGraph(f"Capacity: {name} must be an integer from {least} to {most}, found {value!r}.")
