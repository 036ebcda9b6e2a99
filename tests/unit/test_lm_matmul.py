"""Kernels that read matrices, in both builds: alone as in a batch, on any number of threads. Their references: test_lm_kernels.py."""

import numpy as np
import pytest

from edgenet.kernels.lm import cases, layouts, matmul, record
from edgenet.kernels.lm.quantize import PANELS, pack_rows, values_of
from edgenet.kernels.lm.table import SILU, op

BUILDS = ("simd", "relaxed")
# Rows of a run that are looked at alone: four by four and one; many at once, more than a tile holds, the last panel not whole
ALONE = {6: range(6), 147: (0, 5, 127, 128, 146)}


def product(kernel: str, kind: str, x: np.ndarray, out: int = 6) -> dict:
    """Values of a call with the rows of x and weights that depend on the kind alone."""
    rng = np.random.default_rng(7)
    names = {"matmul": ("w",), "gated": ("gate", "up")}[kernel]
    weights = {name: matmul.random_weight(rng, kind, out, x.shape[1]) for name in names}
    rows = pack_rows(x) if layouts.layout_of(kind).quantized else x
    return {"x": rows, **weights, "n": len(x), "out": out, "in": x.shape[1], "act": SILU, "stride": 0}


def some_rows(n: int, width: int = 768) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, width)).astype(np.float32)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kind", layouts.TYPES)
@pytest.mark.parametrize("kernel", ["matmul", "gated"])
@pytest.mark.parametrize("rows", ALONE)
def test_a_row_gives_the_same_bits_alone_and_in_a_batch(kernels, rows, kernel, kind, build):
    x = some_rows(rows)
    _, together = kernels[build].call(kernel, product(kernel, kind, x))
    for i in ALONE[rows]:
        _, alone = kernels[build].call(kernel, product(kernel, kind, x[i : i + 1]))
        assert (alone["y"][0] == together["y"][i]).all()


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kind", ["q4_0", "q8_0", "f16"])
def test_a_thread_writes_its_own_outputs_with_the_same_bits(kernels, kind, build):
    values, threads = product("matmul", kind, some_rows(5), out=30), 3
    _, want = kernels[build].call("matmul", values)
    it, base = kernels[build], kernels[build].instance.heap_base
    at = record.plan(op("matmul"), values, base)
    it.place(at, base)
    for thread in range(1, threads):  # thread 0 would wait for others, which this build does not have
        it.instance.call("run", at.program_at, thread, threads)
    got = record.view(op("matmul").arg("y"), values, bytes(it.instance.read(at["y"].offset, at["y"].size)))
    first = 8  # of eight groups of four outputs, two are thread 0's
    assert np.isnan(got[:, :first]).all()  # as filled beforehand
    assert (got[:, first:] == want["y"][:, first:]).all()


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("n", [1, 4, 7])
def test_quantised_rows_are_as_defined_to_the_bit(kernels, n, build):
    x = some_rows(n, 96) * np.float32([[10.0**e] * 96 for e in range(-3, n - 3)])
    x[0, 5:9] = x[0, :32].max() * np.float32([0.5, 1.5, 2.5, 127]) / 127  # ties, and a new largest number
    values = {"x": x, "n": n, "d": 96, "stride": 0}
    it, base = kernels[build], kernels[build].instance.heap_base
    at = record.plan(op("quantize"), values, base)
    it.place(at, base)
    assert it.instance.call("run", at.program_at, 0, 1) == 0
    got = np.frombuffer(bytes(it.instance.read(at["y"].offset, at["y"].size)), np.uint8)
    want = pack_rows(x)
    assert (meaningful(got, n) == meaningful(want, n)).all()


def meaningful(rows: np.ndarray, n: int) -> np.ndarray:
    """The bytes of quantised rows without those of rows that only fill up a panel."""
    panels = rows.view(PANELS).reshape(-(-n // 4), -1)
    parts = [
        np.moveaxis(panels[name], 1, 2).reshape(4 * len(panels), -1)[:n] for name in PANELS.names if name != "meta"
    ]
    meta = [panels["meta"][f].swapaxes(1, 2).reshape(4 * len(panels), -1)[:n] for f in panels["meta"].dtype.names]
    return np.concatenate([np.frombuffer(p.tobytes(), np.uint8) for p in parts + meta])


def test_values_of_quantised_rows_are_within_half_a_step():
    x = some_rows(5, 64)
    step = np.repeat(np.abs(x.reshape(5, 2, 32)).max(axis=2) / 127, 32, axis=1)
    for fine, part in ((False, 1), (True, 256)):
        error = np.abs(values_of(pack_rows(x), 5, 64, fine) - x)
        assert (error <= step / part * 0.5001).all()


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_reach_the_output_of_their_row_alone(kernels, bad, build):
    x = cases.with_value(some_rows(3, 64), 64 + 40, bad)
    values = {"x": x, "n": 3, "d": 64, "stride": 0}
    it, base = kernels[build], kernels[build].instance.heap_base
    at = record.plan(op("quantize"), values, base)
    it.place(at, base)
    assert it.instance.call("run", at.program_at, 0, 1) == 0
    rows = np.frombuffer(bytes(it.instance.read(at["y"].offset, at["y"].size)), np.uint8)
    _, got = it.call("matmul", product("matmul", "q4_0", some_rows(3, 64)) | {"x": rows})
    assert np.isfinite(got["y"][[0, 2]]).all() and not np.isfinite(got["y"][1]).any()
