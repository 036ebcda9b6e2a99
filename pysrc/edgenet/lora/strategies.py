"""How one module's deltas become one: a table of strategies and their options. NumPy; runs anywhere.

Every strategy works on what the adapters add, the deltas `scale * B @ A`: averaging A and B apart would bring in products B_i A_j that
nobody trained. The merged delta is refitted to one rank and the error of that is reported. At most one module's delta is dense at a time.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from zlib import crc32

import numpy as np

from ..errors import AdapterMismatch, InvalidOption
from ..options import Check, between, check_options, one_of, positive, python_names, whole
from .config import MOST_RANK
from .low_rank import Factors, Refit, angle, distance, inner, nothing, refit_dense, refit_sum
from .ties import ELECTIONS, Join, dropping, joined, random_mask, summed, trimming

MOST_ADAPTERS = 16
STRAIGHT = 1e-6  # below this sine of the angle, slerp goes straight
SAME = 1e-6  # deltas that differ by this share of their norm are copies: in f32, one delta in two pairs of factors does
# What DARE keeps: (module, number of the adapter, rows) → bool (rows, in).
Masks = Callable[[str, int, slice], np.ndarray]


# --- strategies: a module's deltas, one per adapter → the merged one, refitted
@dataclass(frozen=True)
class _Module:
    """One module's share of the work. `shares`: the adapters' weights as the strategy takes them."""

    name: str
    deltas: list[Factors]
    shares: list[float]
    options: "MergeOptions"
    masks: Masks | None

    @property
    def rank(self) -> int:
        return self.options.rank or max(len(delta.A) for delta in self.deltas)

    @property
    def seed(self) -> list[int]:
        return [self.options.seed, crc32(self.name.encode())]


def _sum(m: _Module) -> Refit:
    return refit_sum(zip(m.shares, m.deltas, strict=True), m.rank)


def _slerp(m: _Module) -> Refit:
    """Shoemake 1985 on flattened deltas; straight where they point the same or opposite ways, or one is zero."""
    u, t = m.options.interpolation, angle(*m.deltas)
    straight = math.sin(t) < STRAIGHT
    weights = (1 - u, u) if straight else (math.sin((1 - u) * t) / math.sin(t), math.sin(u * t) / math.sin(t))
    return refit_sum(zip(weights, m.deltas, strict=True), m.rank)


def _ties(m: _Module) -> Refit:
    return _dense(
        m, [trimming(delta, m.options.density) for delta in m.deltas], ELECTIONS[m.options.majority_sign_method]
    )


def _dare_linear(m: _Module) -> Refit:
    return _dense(m, _dropping(m), summed)


def _dare_ties(m: _Module) -> Refit:
    return _dense(m, _dropping(m), ELECTIONS[m.options.majority_sign_method])


def _dense(m: _Module, cuts, join: Join) -> Refit:
    merged = joined(m.deltas, cuts, join, m.shares)
    merged *= np.float32(m.options.scaling)
    return refit_dense(merged, m.rank, m.seed)


def _dropping(m: _Module) -> list:
    density, width = m.options.density, m.deltas[0].shape[1]

    def mask_of(number: int):
        if m.masks:
            return lambda rows: m.masks(m.name, number, rows)
        return lambda rows: random_mask([*m.seed, number], density, width, rows)

    return [dropping(mask_of(number), density) for number in range(len(m.deltas))]


@dataclass(frozen=True)
class Strategy:
    """A row of the table. `uses`: the options that mean something to it; `normalised`: whether weights are divided by their sum.

    `copies`: what copies of one delta make, as a multiple of it; None if that is a matter of chance.
    """

    merge: Callable[[_Module], Refit]
    uses: tuple[str, ...] = ("weights",)
    copies: Callable[[_Module], float] | None = lambda m: 1.0
    adapters: tuple[int, int] = (1, MOST_ADAPTERS)
    normalised: bool = True


STRATEGIES = {
    "average": Strategy(_sum, ()),
    "weighted": Strategy(_sum),
    "task_arithmetic": Strategy(_sum, copies=lambda m: sum(m.shares), normalised=False),
    "slerp": Strategy(_slerp, ("interpolation",), adapters=(2, 2)),
    # Trimming is against interference; among copies there is none, and nothing is trimmed. A rule of ours, as docs/merging.md says.
    "ties": Strategy(
        _ties, ("weights", "density", "scaling", "majority_sign_method", "seed"), lambda m: m.options.scaling
    ),
    "dare_linear": Strategy(_dare_linear, ("weights", "density", "seed"), None),
    "dare_ties": Strategy(_dare_ties, ("weights", "density", "scaling", "majority_sign_method", "seed"), None),
}
SHORT = {"dare": "dare_linear"}  # what else one is called


def _merged(m: _Module) -> Refit:
    """By the strategy; but copies of one delta make that delta, and where nothing else was asked for, with the very same factors."""
    strategy, first = STRATEGIES[m.options.strategy], m.deltas[0]
    if not strategy.copies or not all(_alike(first, other) for other in m.deltas[1:]):
        return strategy.merge(m)
    if strategy.copies(m) == 1 and m.rank == len(first.A):
        return Refit(first, math.sqrt(max(inner(first, first), 0)), 0.0)
    return refit_sum([(strategy.copies(m), first)], m.rank)


def _alike(f: Factors, g: Factors) -> bool:
    return distance(f, g) <= SAME * math.sqrt(max(inner(f, f), 0))


# --- options
_WEIGHT = between(-1000, 1000)
_CHECKS: dict[str, Check] = {
    "strategy": one_of(*STRATEGIES),
    "weights": (
        f"None, or for each adapter {_WEIGHT[0]}",
        lambda v: v is None or isinstance(v, tuple) and all(map(_WEIGHT[1], v)),
    ),
    "interpolation": between(0, 1),
    "density": positive(1),
    "scaling": positive(10),
    "majority_sign_method": one_of(*ELECTIONS),
    "rank": (f"None, or a whole number from 1 to {MOST_RANK}", lambda v: v is None or whole(1, MOST_RANK)[1](v)),
    "seed": whole(0),
}


@dataclass(frozen=True)
class MergeOptions:
    """How adapters are merged. Raises InvalidOption, also where an option is set that the strategy has no use for.

    weights: one per adapter (None: all 1), divided by their sum, none below 0; for task_arithmetic as they are.
    interpolation: slerp's way from the first adapter (0) to the second (1).
    density: the share of each delta that is kept: the largest by size (ties), a random choice (dare: 1 - its p).
    scaling: what ties multiplies its result by. majority_sign_method: it elects signs by their mass ("total") or number ("frequency").
    rank: of the result; None: in each module the largest of the adapters'. seed: of DARE's choice and of the randomised SVD.
    """

    strategy: str = "weighted"
    weights: tuple[float, ...] | None = None
    interpolation: float = 0.5
    density: float = 0.5
    scaling: float = 1.0
    majority_sign_method: str = "total"
    rank: int | None = None
    seed: int = 42

    def __post_init__(self):
        object.__setattr__(self, "strategy", SHORT.get(str(self.strategy), self.strategy))
        check_options(self, _CHECKS)
        uses = STRATEGIES[self.strategy].uses
        for f in fields(self):
            if f.name not in ("strategy", "rank", *uses) and getattr(self, f.name) != f.default:
                raise InvalidOption(
                    f"{self.strategy} has no use for {f.name}, which is {getattr(self, f.name)!r}. Leave it out; "
                    f"it takes {', '.join((*uses, 'rank'))}.",
                    option=f.name,
                )

    @classmethod
    def from_data(cls, data: Mapping) -> "MergeOptions":
        """From JSON data with names in either language's style. Raises InvalidOption, also for unknown names."""
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in python_names(data).items()}
        if unknown := sorted(set(given) - set(_CHECKS)):
            raise InvalidOption(f"Merging has no option {unknown[0]!r}. Options: {', '.join(_CHECKS)}.")
        return cls(**given)

    def shares(self, count: int) -> list[float]:
        """What each of `count` adapters counts. Raises InvalidOption for a number of adapters or weights that cannot be."""
        strategy = STRATEGIES[self.strategy]
        least, most = strategy.adapters
        if not least <= count <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise InvalidOption(f"{self.strategy} merges {wanted} adapters; {count} were given.", count=count)
        weights = self.weights or (1.0,) * count
        if len(weights) != count:
            raise InvalidOption(f"There are {count} adapters and {len(weights)} weights; give one each.", count=count)
        if not strategy.normalised:
            return list(weights)
        if min(weights) < 0 or not sum(weights):
            raise InvalidOption(
                f"{self.strategy} divides weights by their sum: none may be below 0 and one must be above; found "
                f"{', '.join(f'{w:g}' for w in weights)}. Only task_arithmetic takes them as they are.",
                option="weights",
            )
        return [w / sum(weights) for w in weights]


# --- merging
def merge_modules(
    sources: Sequence[Mapping[str, Factors]], options: MergeOptions, masks: Masks | None = None
) -> Iterator[tuple[str, Refit]]:
    """(module, merged and refitted delta) one by one; `sources`: each adapter's deltas by module, a missing one being zero.

    `masks` replaces what DARE draws. Raises InvalidOption, AdapterMismatch where a module has two shapes; both before the first result.
    """
    shares, shapes = options.shares(len(sources)), _shapes(sources)

    def merged():
        for name, shape in shapes.items():
            deltas = [source.get(name) or nothing(shape) for source in sources]
            yield name, _merged(_Module(name, deltas, shares, options, masks))

    return merged()


def _shapes(sources: Sequence[Mapping[str, Factors]]) -> dict[str, tuple[int, int]]:
    """The shape of every module that any of them has, in the order in which they are met."""
    shapes: dict[str, tuple[int, int]] = {}
    for number, source in enumerate(sources, 1):
        for name, delta in source.items():
            if shapes.setdefault(name, delta.shape) != delta.shape:
                raise AdapterMismatch(
                    f"Adapter {number} adds a matrix of shape {delta.shape} to {name}, another one {shapes[name]}: they are of "
                    "different models. Merge adapters of one base.",
                    module=name,
                )
    return shapes
