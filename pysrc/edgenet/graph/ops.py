"""The one table of graph ops: inputs and their shapes, attributes, result, cost. Runs anywhere; imports no NumPy.

An op's NumPy reference is the function of its name in `references.py` or `training_references.py`, fetched when asked for. Kernels are
another table (`edgenet.kernels.lm`): the compiler turns ops into kernels. Gradient rules are the table in `gradients.py`.
"""

from .op import (
    ACT,
    CAP,
    EPS,
    FACTOR,
    GROUPED,
    GROUPS,
    HEADS,
    NORM_WEIGHT,
    PACKED,
    POSITIONS,
    SCALE,
    SEQUENCES,
    SOFTCAP,
    WINDOW,
    Attribute,
    Op,
    Port,
    X,
    counts,
    flag,
    integer,
    number,
    one_of,
)
from .training_ops import TRAINING_OPS

STYLES = ("neox", "norm")
POOLS = ("mean", "cls", "last")
_LAYER = Attribute("layer", "an integer from 0", integer(0))

OPS: dict[str, Op] = {
    op.name: op
    for op in (
        Op(
            "embed",
            (Port("table", "matrix", "vocab d"), Port("ids", "ids", "r")),
            "r d",
            (SCALE,),
            flops="r*d",
        ),
        Op("rows", (X, Port("wanted", "ids", "w")), "w d"),
        Op("rms_norm", (X, NORM_WEIGHT), "r d", (EPS, HEADS), flops="4*r*d"),
        Op(
            "layer_norm",
            (X, Port("weight", "vector", "d"), Port("bias", "vector", "d", True)),
            "r d",
            (EPS,),
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
            (Port("x", "rows", "r heads*head_dim"), POSITIONS, Port("frequencies", "vector", "half")),
            "r heads*head_dim",
            (
                *counts("heads", "head_dim"),
                Attribute("style", *one_of(*STYLES)),
                Attribute("magnitude", "a finite number", number),
            ),
            flops="6*r*heads*half",
            rule=("twice the number of frequencies must not exceed head_dim", lambda k: 2 * k["half"] <= k["head_dim"]),
        ),
        Op(
            "kv_store",
            (Port("k", "rows", "r kv_heads*head_dim"), Port("v", "rows", "r kv_heads*head_dim"), POSITIONS, SEQUENCES),
            "",
            (_LAYER, *counts("kv_heads", "head_dim")),
            dtype="kv",
            effect=True,
        ),
        Op(
            "attention",
            (Port("q", "rows", "r heads*head_dim"), POSITIONS, SEQUENCES, Port("cache", "cache", "")),
            "r heads*head_dim",
            (
                _LAYER,
                *GROUPED,
                SCALE,
                WINDOW,
                SOFTCAP,
            ),
            flops="4*r*heads*head_dim*context",
            rule=GROUPS,
        ),
        Op(
            "attention_packed",
            PACKED,
            "r heads*head_dim",
            (*GROUPED, SCALE),
            flops="4*r*heads*head_dim*r",
            rule=GROUPS,
        ),
        Op("add", (X, Port("y", "rows", "r d")), "r d", flops="r*d"),
        Op("mul", (X, Port("y", "rows", "r d")), "r d", flops="r*d"),
        Op("scale", (X,), "r d", (FACTOR,), flops="r*d"),
        Op("softcap", (X,), "r d", (CAP,), flops="10*r*d"),
        Op("activation", (X,), "r d", (ACT,), flops="10*r*d"),
        Op(
            "glu",
            (Port("gate", "rows", "r d"), Port("up", "rows", "r d")),
            "r d",
            (Attribute("act", *one_of("silu", "gelu", "gelu_erf")),),
            flops="11*r*d",
        ),
        Op(
            "pool",
            (X, SEQUENCES),
            "s d",
            (
                Attribute("mode", *one_of(*POOLS)),
                flag("normalize"),
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
            (SCALE,),
            flops="2*r*rank*in + 2*r*rank*out",
        ),
        *TRAINING_OPS,
    )
}
