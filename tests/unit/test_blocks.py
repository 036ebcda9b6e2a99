"""Blocks of quantised weights are ggml's bit for bit: by committed vectors."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from edgenet.errors import InvalidGguf, NotFinite, UnsupportedTensorType, WrongLength, WrongType
from edgenet.formats.blocks import BLOCKS, QUANTIZED, dequantize, quantize
from edgenet.formats.types import TYPES

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "gguf" / "blocks.json").read_text("utf-8"))["rows"]


def raw(row, key):
    return base64.b64decode(row[key])


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["type"])
def test_a_block_means_what_ggml_says(row):
    found = dequantize(row["type"], raw(row, "raw"), 1, 256)
    assert found.dtype == np.float32 and found.shape == (1, 256)
    assert found.tobytes() == raw(row, "weights")


@pytest.mark.parametrize("row", [row for row in VECTORS if "from" in row], ids=lambda row: row["type"])
def test_weights_become_the_blocks_that_ggml_makes(row):
    weights = np.frombuffer(raw(row, "from"), "<f4").reshape(1, 256)
    assert quantize(row["type"], weights) == raw(row, "raw")


def test_every_type_has_a_vector_and_blocks_of_its_size():
    assert [row["type"] for row in VECTORS if "from" in row] == list(QUANTIZED)
    assert {row["type"] for row in VECTORS} == set(BLOCKS)
    assert {name: kind.itemsize for name, kind in BLOCKS.items()} == {name: TYPES[name].bytes for name in BLOCKS}


ERRORS = {
    "q8_0": 0.006,
    "q5_1": 0.04,
    "q5_0": 0.05,
    "q4_1": 0.08,
    "q4_0": 0.1,
    "bf16": 0.003,
    "f16": 0.0004,
}  # of N(0, 1)


@pytest.mark.parametrize(("name", "bound"), ERRORS.items())
def test_what_was_quantised_is_near_what_it_was(name, bound):
    x = np.random.default_rng(1).standard_normal((64, 256)).astype(np.float32)
    back = dequantize(name, quantize(name, x), 64, 256)
    assert np.sqrt(np.mean((back - x) ** 2)) < bound


def test_rows_keep_their_order():
    x = np.arange(4, dtype=np.float32)[:, None] * np.ones((1, 64), np.float32)
    assert np.array_equal(dequantize("q8_0", quantize("q8_0", x), 4, 64).round(), x)


BAD = [
    (lambda: dequantize("q4_0", b"\0" * 17, 1, 32), WrongLength, "a byte too few"),
    (lambda: dequantize("q4_0", b"\0" * 36, 1, 32), WrongLength, "a block too many"),
    (lambda: dequantize("q4_0", b"\0" * 18, 1, 33), InvalidGguf, "half a block"),
    (lambda: dequantize("iq1_s", b"", 1, 256), UnsupportedTensorType, "a type without a reference"),
    (lambda: quantize("q4_k", np.zeros((1, 256), np.float32)), UnsupportedTensorType, "a type that is only read"),
    (lambda: quantize("q8_0", np.zeros((1, 30), np.float32)), InvalidGguf, "a row that is no whole number of blocks"),
    (lambda: quantize("q8_0", np.zeros((1, 32))), WrongType, "float64"),
    (lambda: quantize("q8_0", np.zeros(32, np.float32)), WrongType, "no matrix"),
    (lambda: quantize("q8_0", np.full((1, 32), np.nan, np.float32)), NotFinite, "NaN"),
    (lambda: quantize("q8_0", np.full((1, 32), np.inf, np.float32)), NotFinite, "an infinity"),
    (lambda: quantize("q4_0", np.full((1, 32), 1e30, np.float32)), NotFinite, "a scale beyond f16"),
    (lambda: quantize("f16", np.full((1, 32), 1e5, np.float32)), NotFinite, "a weight beyond f16"),
]


@pytest.mark.parametrize(("call", "error", "why"), BAD, ids=[row[2] for row in BAD])
def test_what_cannot_be_is_a_named_error(call, error, why):
    with pytest.raises(error):
        call()


def test_a_scale_that_is_no_number_gives_no_number_and_no_crash():
    block = np.zeros(1, BLOCKS["q4_0"])
    block["d"], block["qs"] = np.nan, 1
    assert np.isnan(dequantize("q4_0", block.tobytes(), 1, 32)).all()
