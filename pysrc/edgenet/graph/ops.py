"""The one table of graph ops: inputs and their shapes, attributes, result, cost. Runs anywhere; imports no NumPy.

An op's NumPy reference is the function of its name in `references.py`, fetched when asked for. Kernels are another table
(`edgenet.kernels.lm`): the compiler turns ops into kernels. Gradient rules, one per differentiable op, get a module of their own.
"""

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
    "ids": ("i32",),
    "cache": ("kv",),  # the state of one layer after kv_store
}


class Port(NamedTuple):
    """One input of an op: its kind (a key of KINDS), the pattern its shape must match, and whether it may be None."""

    name: str
    kind: str
    shape: str
    optional: bool = False


class Attribute(NamedTuple):
    """One constant of an op: what it must be, as a test and in words; `default` None: it must be given."""

    name: str
    expected: str
    test: Callable[[Any], bool]
    default: Any = None


@dataclass(frozen=True)
class Op:
    """A row of the table. `result` is the shape pattern of the output; `flops` a sum of products of the sizes in the patterns and
    `context`, the tokens a row attends to.
    """

    name: str
    ports: tuple[Port, ...]
    result: str
    attributes: tuple[Attribute, ...] = ()
    dtype: str = "f32"
    flops: str = "0"
    rule: tuple[str, Callable[[dict], bool]] | None = None  # what must hold between sizes, in words and as a test
    differentiable: bool = True

    def reference(self) -> Callable:
        """The NumPy function that defines what is right."""
        return getattr(import_module(".references", __package__), self.name)


def _integer(least: int) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and least <= v < 1 << 31


def _number(v: Any) -> bool:
    return isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 3e38


def _one_of(*names: str) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {', '.join(names)}", lambda v: v in names


def _counts(*names: str) -> tuple[Attribute, ...]:
    return tuple(Attribute(n, "an integer from 1", _integer(1)) for n in names)


ACTIVATIONS = ("silu", "gelu", "gelu_erf", "relu")
STYLES = ("neox", "norm")
POOLS = ("mean", "cls", "last")
_EPS = Attribute("eps", "a positive number", lambda v: _number(v) and v > 0)
_HEADS = Attribute("heads", "an integer from 1", _integer(1), 1)
_SCALE = Attribute("scale", "a finite number", _number)
_LAYER = Attribute("layer", "an integer from 0", _integer(0))
_CAP = Attribute("cap", "a positive number", lambda v: _number(v) and v > 0)
_X = Port("x", "rows", "r d")
_PLACES = (Port("positions", "ids", "r"), Port("sequences", "ids", "r"))
_GROUPS = ("heads must be a multiple of kv_heads", lambda k: k["heads"] % k["kv_heads"] == 0)

OPS: dict[str, Op] = {
    op.name: op
    for op in (
        Op(
            "embed",
            (Port("table", "matrix", "vocab d"), Port("ids", "ids", "r")),
            "r d",
            (_SCALE._replace(default=1.0),),
            flops="r*d",
        ),
        Op("rows", (_X, Port("wanted", "ids", "w")), "w d"),
        Op("rms_norm", (_X, Port("weight", "vector", "d/heads", True)), "r d", (_EPS, _HEADS), flops="4*r*d"),
        Op(
            "layer_norm",
            (_X, Port("weight", "vector", "d"), Port("bias", "vector", "d", True)),
            "r d",
            (_EPS,),
            flops="7*r*d",
        ),
        Op(
            "matmul",
            (Port("x", "rows", "r in"), Port("w", "matrix", "out in"), Port("bias", "vector", "out", True)),
            "r out",
            flops="2*r*out*in",
        ),
        Op(
            "rope",
            (Port("x", "rows", "r heads*head_dim"), _PLACES[0], Port("frequencies", "vector", "half")),
            "r heads*head_dim",
            (
                *_counts("heads", "head_dim"),
                Attribute("style", *_one_of(*STYLES)),
                Attribute("magnitude", "a finite number", _number, 1.0),
            ),
            flops="6*r*heads*half",
            rule=("twice the number of frequencies must not exceed head_dim", lambda k: 2 * k["half"] <= k["head_dim"]),
        ),
        Op(
            "kv_store",
            (Port("k", "rows", "r kv_heads*head_dim"), Port("v", "rows", "r kv_heads*head_dim"), *_PLACES),
            "",
            (_LAYER, *_counts("kv_heads", "head_dim")),
            dtype="kv",
            differentiable=False,
        ),
        Op(
            "attention",
            (Port("q", "rows", "r heads*head_dim"), *_PLACES, Port("cache", "cache", "")),
            "r heads*head_dim",
            (
                _LAYER,
                *_counts("heads", "kv_heads", "head_dim"),
                _SCALE,
                Attribute("window", "an integer from 0 (0: none)", _integer(0), 0),
                Attribute("softcap", "a number from 0 (0: none)", lambda v: _number(v) and v >= 0, 0.0),
            ),
            flops="4*r*heads*head_dim*context",
            rule=_GROUPS,
        ),
        Op(
            "attention_packed",
            (
                Port("q", "rows", "r heads*head_dim"),
                Port("k", "rows", "r kv_heads*head_dim"),
                Port("v", "rows", "r kv_heads*head_dim"),
                _PLACES[1],
            ),
            "r heads*head_dim",
            (*_counts("heads", "kv_heads", "head_dim"), _SCALE),
            flops="4*r*heads*head_dim*r",
            rule=_GROUPS,
        ),
        Op("add", (_X, Port("y", "rows", "r d")), "r d", flops="r*d"),
        Op("mul", (_X, Port("y", "rows", "r d")), "r d", flops="r*d"),
        Op("scale", (_X,), "r d", (Attribute("factor", "a finite number", _number),), flops="r*d"),
        Op("softcap", (_X,), "r d", (_CAP,), flops="10*r*d"),
        Op("activation", (_X,), "r d", (Attribute("act", *_one_of(*ACTIVATIONS)),), flops="10*r*d"),
        Op(
            "glu",
            (Port("gate", "rows", "r d"), Port("up", "rows", "r d")),
            "r d",
            (Attribute("act", *_one_of("silu", "gelu", "gelu_erf")),),
            flops="11*r*d",
        ),
        Op(
            "pool",
            (_X, _PLACES[1]),
            "s d",
            (
                Attribute("mode", *_one_of(*POOLS)),
                Attribute("normalize", "true or false", lambda v: isinstance(v, bool), True),
            ),
            flops="3*r*d",
        ),
        Op(
            "lora",
            (
                Port("y", "rows", "r out"),
                Port("x", "rows", "r in"),
                Port("a", "matrix", "rank in"),
                Port("b", "matrix", "out rank"),
            ),
            "r out",
            (_SCALE,),
            flops="2*r*rank*in + 2*r*rank*out",
        ),
    )
}
