"""What a row of the table of graph ops is made of: ports, attributes, and the tests of them. Runs anywhere; imports no NumPy."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

from ..formats.types import TYPES

# What a port takes: the dtypes a tensor may have.
FLOATS = ("f32", "f16", "bf16")
WEIGHTS = tuple(TYPES)
KINDS: dict[str, tuple[str, ...]] = {
    "rows": ("f32",),  # activations
    "matrix": WEIGHTS,  # (out, in), in the type of its file
    "vector": FLOATS,  # 1-D weights and constants, read as f32
    "plain": ("f32",),  # f32 of fixed sizes: an input, a state, a part of one
    "state": ("f32",),  # a state or a part of one, which the op may change
    "ids": ("i32",),
    "table": ("i32",),  # numbers of fixed sizes
    "seeds": ("u32",),
    "cache": ("kv",),  # the state of one layer after kv_store
}


class Port(NamedTuple):
    """One input of an op: its kind (a key of KINDS), the pattern its shape must match, and whether it may be None."""

    name: str
    kind: str
    shape: str
    optional: bool = False


class Attribute(NamedTuple):
    """One constant of an op: what it must be, in words and as a test. What may be left out, the methods of `Graph` say."""

    name: str
    expected: str
    test: Callable[[Any], bool]


@dataclass(frozen=True)
class Op:
    """A row of the table. `result` is the shape pattern of the output; `flops` a sum of products of the sizes in the patterns and
    `context`, the tokens a row attends to. `effect`: it changes a state or a cache, so it runs though nothing reads its result.
    """

    name: str
    ports: tuple[Port, ...]
    result: str
    attributes: tuple[Attribute, ...] = ()
    dtype: str = "f32"
    flops: str = "0"
    rule: tuple[str, Callable[[dict], bool]] | None = None  # what must hold between sizes, in words and as a test
    effect: bool = False
    module: str = "references"  # where the op's meaning is written down

    def reference(self) -> Callable:
        """The NumPy function that defines what is right."""
        return getattr(import_module(f".{self.module}", __package__), self.name)


# --- tests of attributes
def integer(least: int) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and least <= v < 1 << 31


def number(v: Any) -> bool:
    return isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 3e38


def positive(v: Any) -> bool:
    return number(v) and v > 0


def one_of(*names: str) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {', '.join(names)}", lambda v: v in names


def flag(name: str) -> Attribute:
    return Attribute(name, "true or false", lambda v: isinstance(v, bool))


def counts(*names: str) -> tuple[Attribute, ...]:
    return tuple(Attribute(n, "an integer from 1", integer(1)) for n in names)


# --- what several rows share
ACTIVATIONS = ("silu", "gelu", "gelu_erf", "relu")
ACT = Attribute("act", *one_of(*ACTIVATIONS))
EPS = Attribute("eps", "a positive number", positive)
CAP = Attribute("cap", "a positive number", positive)
HEADS = Attribute("heads", "an integer from 1", integer(1))
FACTOR = Attribute("factor", "a finite number", number)
SCALE = Attribute("scale", "a finite number", number)
WINDOW = Attribute("window", "an integer from 0 (0: none)", integer(0))
SOFTCAP = Attribute("softcap", "a number from 0 (0: none)", lambda v: number(v) and v >= 0)
X = Port("x", "rows", "r d")
DY = Port("dy", "rows", "r d")
NORM_WEIGHT = Port("weight", "vector", "d/heads", True)
POSITIONS, SEQUENCES = Port("positions", "ids", "r"), Port("sequences", "ids", "r")
PACKED = (
    Port("q", "rows", "r heads*head_dim"),
    Port("k", "rows", "r kv_heads*head_dim"),
    Port("v", "rows", "r kv_heads*head_dim"),
    SEQUENCES,
)
GROUPED = counts("heads", "kv_heads", "head_dim")
GROUPS = ("heads must be a multiple of kv_heads", lambda k: k["heads"] % k["kv_heads"] == 0)
