"""Rows of the kernels that train and adapt a model, in the order of their op codes; `table.py` puts them behind its own. Imports no NumPy.

All are f32 with f64 where a sum would lose by f32; tolerances as in `table.py`.
"""

from __future__ import annotations

from .arguments import Op, indices, reads, scratch, updates, values, weight, writes

HYPER = 16  # f32 words of an optimiser's `hyper`, in this order, the rest 0: see optimizer.py
HYPER_NAMES = tuple("rate beta1 beta2 epsilon decay clip correction1 correction2 factor momentum rest1 rest2".split())
_HEADS = tuple(reads(n, "n", "heads", "d") for n in ("x", "dy"))
_QKV = (reads("q", "n", "heads", "head_dim"), *(reads(n, "n", "kv_heads", "head_dim") for n in ("k", "v")))
_FORM = "n heads kv_heads head_dim scale:f causal window softcap:f"
_ROWS = tuple(reads(n, "n", "d") for n in ("x", "dy"))
_TARGETS, _WEIGHTS = indices("targets")[0], reads("weights", "n")


def _states(*names: str) -> tuple:
    return tuple(updates(n, "count") for n in names)


TRAINING: tuple[Op, ...] = (
    Op(
        "matmul_f32",
        "products",
        1e-5,
        (
            reads("x", "n", "in"),
            weight("w", "out", "in"),
            reads("bias?", "out"),
            reads("residual?", "n", "out"),
            writes("y", "n", "out"),
            *values("n out in act"),
        ),
    ),
    Op(
        "matmul_t",
        "products",
        1e-5,
        (
            reads("x", "n", "out"),
            weight("w", "out", "in"),
            reads("residual?", "n", "in"),
            writes("y", "n", "in"),
            *values("n out in"),
        ),
    ),
    Op(
        "matmul_t_int8",
        "products",
        1e-5,
        (
            reads("x", "n", "out", dtype="q8"),
            weight("w", "out", "in"),
            reads("residual?", "n", "in"),
            writes("y", "n", "in"),
            *values("n out in stride"),
        ),
    ),
    Op(
        "head_norm",
        "norm_grad",
        1e-5,
        (_HEADS[0], reads("weight?", "d"), writes("y", "n", "heads", "d"), *values("n heads d eps:f")),
    ),
    Op(
        "rms_norm_grad",
        "norm_grad",
        1e-5,
        (_HEADS[0], reads("weight?", "d"), _HEADS[1], writes("dx", "n", "heads", "d"), *values("n heads d eps:f")),
    ),
    Op(
        "layer_norm_grad",
        "norm_grad",
        1e-5,
        (_ROWS[0], reads("weight", "d"), _ROWS[1], writes("dx", "n", "d"), *values("n d eps:f")),
    ),
    Op(
        "attention_rows",
        "attention_rows",
        1e-5,
        (*_QKV, *indices("sequences"), writes("y", "n", "heads", "head_dim"), *values(_FORM)),
    ),
    Op(
        "attention_rows_grad",
        "attention_rows",
        1e-5,
        (
            *_QKV,
            *indices("sequences"),
            reads("dy", "n", "heads", "head_dim"),
            writes("dx", "n", "parts", "head_dim"),
            scratch("scratch", "n", "heads", 2),
            *values(f"{_FORM} parts"),
        ),
    ),
    Op("columns", "gradients", 0.0, (_ROWS[0], writes("y", "n", "width"), *values("n d first width"))),
    Op("activation_grad", "gradients", 2e-6, (*_ROWS, writes("out", "n", "d"), *values("n d act"))),
    Op("softcap_grad", "gradients", 2e-6, (*_ROWS, writes("out", "n", "d"), *values("n d cap:f"))),
    Op(
        "dense",
        "dense",
        1e-5,
        (reads("x", "n", "in"), reads("w", "out", "in"), writes("y", "n", "out"), *values("n out in factor:f")),
    ),
    Op(
        "dense_t",
        "dense",
        1e-5,
        (
            reads("x", "n", "out"),
            reads("w", "out", "in"),
            reads("residual?", "n", "in"),
            writes("y", "n", "in"),
            *values("n out in factor:f"),
        ),
    ),
    Op(
        "outer",
        "dense",
        1e-5,
        (reads("x", "n", "a"), reads("y", "n", "b"), writes("out", "a", "b"), *values("n a b factor:f")),
    ),
    Op("accumulate", "gradients", 1e-6, (updates("into", "r", "d"), reads("x", "r", "d"), *values("r d"))),
    Op(
        "dropout",
        "dropout",
        1e-6,
        (_ROWS[0], reads("seeds", 4, dtype="u32"), writes("y", "n", "d"), *values("n d rate:f stream")),
    ),
    Op(
        "token_stats",
        "loss",
        2e-6,
        (reads("logits", "n", "v"), _TARGETS, reads("before?", "n", 4), writes("stats", "n", 4), *values("n v first")),
    ),
    Op("cross_entropy", "loss", 2e-6, (reads("stats", "n", 4), _TARGETS, _WEIGHTS, writes("y", "n"), *values("n"))),
    Op(
        "cross_entropy_grad",
        "loss",
        2e-6,
        (
            reads("logits", "n", "v"),
            reads("stats", "n", 4),
            _TARGETS,
            _WEIGHTS,
            writes("out", "n", "v"),
            *values("n v first"),
        ),
    ),
    Op("norm", "optimizer", 1e-6, (reads("x", "count"), writes("y", 1), *values("count"))),
    Op(
        "adamw",
        "optimizer",
        1e-6,
        (
            *_states("parameters", "gradients", "first", "second"),
            reads("norm", 1),
            reads("hyper", HYPER),
            *values("count"),
        ),
    ),
    Op(
        "sgd",
        "optimizer",
        1e-6,
        (*_states("parameters", "gradients", "momentum"), reads("norm", 1), reads("hyper", HYPER), *values("count")),
    ),
    Op(
        "adapters",
        "adapters",
        1e-5,
        (
            reads("x", "n", "in"),
            reads("pool", "values"),
            reads("table", "sites", "slots", 4, dtype="i32"),
            reads("mix", "n", "slots"),
            updates("y", "n", "out"),
            *values("n in out site sites slots values"),
        ),
    ),
    Op(
        "matmul_int8",
        "products",
        1e-5,
        (
            reads("x", "n", "in", dtype="q8"),
            weight("w", "out", "in"),
            reads("bias?", "out"),
            reads("residual?", "n", "out"),
            writes("y", "n", "out"),
            *values("n out in stride"),
        ),
    ),
)
