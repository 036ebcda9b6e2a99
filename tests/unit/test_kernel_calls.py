"""One call of a kernel checked by the pack's own words: the same rows as in JavaScript."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgenet import errors
from edgenet.kernels.calls import make_call, pack_params, shape_size
from edgenet.kernels.ext import EXTENSIONS, ExtCall

ROOT = Path(__file__).resolve().parents[2]
ROWS = json.loads((ROOT / "tests" / "vectors" / "kernel_calls.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", ROWS["shapes"], ids=lambda r: str(r["shape"]))
def test_a_shape_is_as_long_as_its_names_say(row):
    assert shape_size(row["shape"], row["sizes"]) == row["size"]


@pytest.mark.parametrize("row", ROWS["params"], ids=lambda r: r["reason"])
def test_parameters_are_packed(row):
    assert pack_params(ROWS["entries"][row["entry"]], row["params"])[0].hex() == row["hex"]


@pytest.mark.parametrize("row", ROWS["refused"], ids=lambda r: r["reason"])
def test_a_call_is_refused(row):
    call = {"a": None, "b": None, **row["call"]}
    with pytest.raises(errors.KernelError) as caught:
        make_call(ROWS["entries"][row["entry"]], call.pop("a"), call.pop("b"), call.pop("params", None), **call)
    assert caught.value.code == row["code"]


def test_an_array_of_another_type_is_refused_by_name():
    with pytest.raises(errors.DTypeMismatch, match='"x" as f32, found float64'):
        make_call(ROWS["entries"]["one"], np.zeros(1), params={"n": 1})


def test_a_call_gets_the_packs_scratch_unless_told_otherwise():
    more = {"params": {"rows": 1, "r": 1}, "output_size": 4}
    two = ROWS["entries"]["two"]
    assert make_call(two, [1, 2], [1, 2, 3], **more).scratch == 1
    assert make_call(two, [1, 2], [1, 2, 3], scratch=9, **more).scratch == 9


def test_swiglu_reference_is_the_formula():
    row = EXTENSIONS["swiglu_f32"]
    x, gate = np.float32([1, 2, 3]), np.float32([0, 1, -2])
    params = row.pack_params(rows=1, hidden=3, beta=1.5)
    code, y, _ = row.reference(ExtCall("swiglu_f32", params, x, gate, np.zeros(3, np.float32)))
    assert code == 0
    assert np.allclose(y, [0, 2 / (1 + np.exp(-1.5)), -6 / (1 + np.exp(3.0))])
    unequal = ExtCall("swiglu_f32", params, x, gate[:2], np.zeros(3, np.float32))
    assert row.reference(unequal)[0] == 1
