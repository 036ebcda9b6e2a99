"""Rows of the table of graph ops that training and adapters need: `ops.py` holds them with all others. Runs anywhere; imports no NumPy."""

from .op import (
    ACT,
    CAP,
    DY,
    EPS,
    FACTOR,
    GROUPED,
    GROUPS,
    HEADS,
    NORM_WEIGHT,
    PACKED,
    SCALE,
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
)

_MODULE = "training_references"
_FIRST = Attribute("first", "an integer from 0", integer(0))
_MASKED = (*GROUPED, SCALE, flag("causal"), WINDOW, SOFTCAP)
_IN, _OUT = Port("x", "rows", "r in"), Port("x", "rows", "r out")
_PLAIN = Port("w", "plain", "out in")
_LOGITS, _STATS = Port("logits", "rows", "r v"), Port("stats", "rows", "r 4")
_TARGETS, _WEIGHTS = Port("targets", "ids", "r"), Port("weights", "rows", "r")
_NORM, _HYPER = Port("norm", "rows", "1"), Port("hyper", "plain", "16")


def _states(*names: str) -> tuple[Port, ...]:
    return tuple(Port(n, "state", "count") for n in names)


TRAINING_OPS: tuple[Op, ...] = (
    Op(
        "attention_rows",
        PACKED,
        "r heads*head_dim",
        _MASKED,
        flops="4*r*heads*head_dim*r",
        rule=GROUPS,
        module=_MODULE,
    ),
    Op(
        "attention_rows_grad",
        (*PACKED, Port("dy", "rows", "r heads*head_dim")),
        "r heads+kv_heads+kv_heads*head_dim",
        _MASKED,
        flops="10*r*heads*head_dim*r",
        rule=GROUPS,
        module=_MODULE,
    ),
    Op(
        "columns",
        (X,),
        "r width",
        (_FIRST, *counts("width")),
        rule=("first + width must not exceed the width of x", lambda k: k["first"] + k["width"] <= k["d"]),
        module=_MODULE,
    ),
    # matrices in plain f32, and the products of gradients
    Op("dense", (_IN, _PLAIN), "r out", (FACTOR,), flops="2*r*out*in", module=_MODULE),
    Op("dense_t", (_OUT, _PLAIN), "r in", (FACTOR,), flops="2*r*out*in", module=_MODULE),
    Op(
        "outer",
        (Port("x", "rows", "r a"), Port("y", "rows", "r b")),
        "a b",
        (FACTOR,),
        flops="2*r*a*b",
        module=_MODULE,
    ),
    Op(
        "matmul_t",
        (Port("y", "rows", "r out"), Port("w", "matrix", "out in")),
        "r in",
        flops="2*r*out*in",
        module=_MODULE,
    ),
    Op("rms_norm_grad", (X, NORM_WEIGHT, DY), "r d", (EPS, HEADS), flops="9*r*d", module=_MODULE),
    Op("layer_norm_grad", (X, Port("weight", "vector", "d"), DY), "r d", (EPS,), flops="13*r*d", module=_MODULE),
    Op("activation_grad", (X, DY), "r d", (ACT,), flops="15*r*d", module=_MODULE),
    Op("softcap_grad", (X, DY), "r d", (CAP,), flops="12*r*d", module=_MODULE),
    Op(
        "dropout",
        (X, Port("seeds", "seeds", "4")),
        "r d",
        (
            Attribute("rate", "a number from 0 and below 1", lambda v: number(v) and 0 <= v < 1),
            Attribute("stream", "an integer from 0", integer(0)),
        ),
        flops="25*r*d",
        module=_MODULE,
    ),
    # the loss, in chunks of the vocabulary
    Op(
        "token_stats",
        (_LOGITS, _TARGETS, _STATS._replace(optional=True)),
        "r 4",
        (_FIRST,),
        flops="4*r*v",
        module=_MODULE,
    ),
    Op("cross_entropy", (_STATS, _TARGETS, _WEIGHTS), "r", flops="4*r", module=_MODULE),
    Op(
        "cross_entropy_grad",
        (_LOGITS, _STATS, _TARGETS, _WEIGHTS),
        "r v",
        (_FIRST,),
        flops="5*r*v",
        module=_MODULE,
    ),
    # states
    Op(
        "accumulate",
        (Port("state", "state", "a b"), Port("x", "rows", "a b")),
        "",
        dtype="none",
        flops="a*b",
        effect=True,
        module=_MODULE,
    ),
    Op("norm", (Port("x", "state", "count"),), "1", flops="2*count", module=_MODULE),
    Op(
        "adamw",
        (*_states("parameters", "gradients", "first", "second"), _NORM, _HYPER),
        "",
        dtype="none",
        flops="14*count",
        effect=True,
        module=_MODULE,
    ),
    Op(
        "sgd",
        (*_states("parameters", "gradients", "momentum"), _NORM, _HYPER),
        "",
        dtype="none",
        flops="7*count",
        effect=True,
        module=_MODULE,
    ),
    Op(
        "adapters",
        (
            Port("y", "rows", "r out"),
            _IN,
            Port("pool", "state", "values"),
            Port("mix", "rows", "r slots"),
            Port("table", "table", "sites slots*4"),
        ),
        "r out",
        (Attribute("site", "an integer from 0", integer(0)),),
        rule=("site must be a row of the table", lambda k: k["site"] < k["sites"]),
        module=_MODULE,
    ),
)
