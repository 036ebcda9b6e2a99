"""Products of training in both builds: alone as in a batch, on any number of threads, in place. Their references: test_lm_kernels.py."""

import numpy as np
import pytest

from edgenet.kernels.lm import layouts, record
from edgenet.kernels.lm.matmul import random_weight
from edgenet.kernels.lm.products import ALONG
from edgenet.kernels.lm.quantize import PANELS, pack_rows
from edgenet.kernels.lm.table import SILU, op
from edgenet.kernels.lm.weights import numbers

BUILDS = ("simd", "relaxed")
KERNELS = ("matmul_f32", "matmul_t", "matmul_t_int8", "matmul_int8")
OUT, IN = 320, 128  # several pieces of the weight, and for three threads shares of different size
ROWS = 133  # more than meet a piece at once, the last four not whole


def product(kernel: str, kind: str, x: np.ndarray, **more) -> dict:
    """Values of a call with the rows of x and a weight that depends on the kind alone."""
    own = {"matmul_f32": {"act": SILU}, "matmul_t": {}}.get(kernel, {"stride": 0})
    weight = random_weight(np.random.default_rng(7), kind, OUT, IN)
    rows = pack_rows(x) if "stride" in own else x
    return {"x": rows, "w": weight, "n": len(x), "out": OUT, "in": IN, **own, **more}


def some_rows(kernel: str, n: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, IN if kernel in ALONG else OUT)).astype(np.float32)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kind", ["q4_0", "f16"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_row_gives_the_same_bits_alone_and_in_a_batch(kernels, kernel, kind, build):
    x = some_rows(kernel, ROWS)
    _, together = kernels[build].call(kernel, product(kernel, kind, x))
    for i in (0, 5, 127, 128, ROWS - 1):
        _, alone = kernels[build].call(kernel, product(kernel, kind, x[i : i + 1]))
        assert (alone["y"][0] == together["y"][i]).all()


def share_of_a_thread(it, kernel: str, values: dict, thread: int, threads: int) -> np.ndarray:
    """The output as one thread leaves it, else NaN as filled beforehand. Thread 0 would wait for others, which these builds lack."""
    at = record.plan(op(kernel), values, it.instance.heap_base)
    it.place(at, it.instance.heap_base)
    assert it.instance.call("run", at.program_at, thread, threads) == 0
    name = op(kernel).outputs()[0]
    return record.view(op(kernel).arg(name), values, bytes(it.instance.read(at[name].offset, at[name].size)))


def thin(kernel: str, *sizes: int) -> dict:
    rng = np.random.default_rng(3)
    names = ("n", "a", "b") if kernel == "outer" else ("n", "out", "in")
    values = dict(zip(names, sizes, strict=True)) | {"factor": 0.5}
    arrays = [a for a in op(kernel).args if a.kind == "in" and not a.optional]
    return values | {a.name: rng.standard_normal([values[s] for s in a.shape]).astype(np.float32) for a in arrays}


CALLS = [(k, product(k, "q8_0", some_rows(k, 5))) for k in KERNELS] + [
    ("dense", thin("dense", 70, 4, 33)),
    ("dense", thin("dense", 5, 200, 4)),
    ("dense_t", thin("dense_t", 3, 4, 200)),
    ("outer", thin("outer", 9, 4, 200)),
    ("outer", thin("outer", 9, 200, 4)),
]


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kernel,values", CALLS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_thread_writes_its_own_outputs_with_the_same_bits(kernels, kernel, values, build):
    it = kernels[build]
    _, want = it.call(kernel, values)
    want = want[op(kernel).outputs()[0]]
    shares = [share_of_a_thread(it, kernel, values, t, 3) for t in (1, 2)]
    written = [np.isfinite(s) for s in shares]
    assert all(w.any() and (s[w] == want[w]).all() for s, w in zip(shares, written, strict=True))
    left = ~(written[0] | written[1])  # thread 0's
    assert not (written[0] & written[1]).any() and left.any() and left.sum() < 2 * want.size / 3


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_answer_may_lie_where_the_residual_was(kernels, kernel, build):
    it, x = kernels[build], some_rows(kernel, 5)
    residual = np.random.default_rng(5).standard_normal((5, OUT if kernel in ALONG else IN)).astype(np.float32)
    values = product(kernel, "q4_0", x, residual=residual)
    _, want = it.call(kernel, values)
    at = record.plan(op(kernel), values, it.instance.heap_base)
    it.place(at, it.instance.heap_base)
    y, into = (at[name].offset.to_bytes(4, "little") for name in ("y", "residual"))
    it.instance.write(at.program_at, at.program.replace(y, into))
    assert it.instance.call("run", at.program_at, 0, 1) == 0
    got = np.frombuffer(bytes(it.instance.read(at["residual"].offset, at["residual"].size)), np.float32)
    assert (got == want["y"].ravel()).all()


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gradients_that_are_not_finite_reach_the_output_of_their_row_alone(kernels, bad, build):
    it, x = kernels[build], some_rows("matmul_t_int8", 3)
    rows = pack_rows(x).copy()
    panels = rows.view(PANELS)
    panels["meta"]["scale"][2, 1] = bad  # what `quantize` makes of such a number
    _, got = it.call("matmul_t_int8", product("matmul_t_int8", "q4_0", x) | {"x": rows})
    assert np.isfinite(got["y"][[0, 2]]).all() and not np.isfinite(got["y"][1]).any()


@pytest.mark.parametrize("kind", [k for k in layouts.TYPES if not k.endswith("_k")])
@pytest.mark.parametrize("kernel", ["matmul_t_int8", "matmul_int8"])
def test_weights_of_7_bits_are_within_two_per_cent(kernels, kernel, kind):
    x = some_rows(kernel, 64)
    values = product(kernel, kind, x)
    _, got = kernels["relaxed"].call(kernel, values)
    weight = numbers(values["w"], OUT, IN)
    exact = x.astype(np.float64) @ (weight.T if kernel in ALONG else weight)
    assert np.linalg.norm(got["y"] - exact) < 0.02 * np.linalg.norm(exact)
