"""What kernels of training must never do: depend on the batch, leak between sequences, differ when they write over their input."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from edgenet.graph.schedule import IN_PLACE
from edgenet.kernels.health import close
from edgenet.kernels.lm import cases
from edgenet.kernels.lm.attention_rows import values_of
from edgenet.kernels.lm.optimizer import hyper
from edgenet.kernels.lm.record import plan
from edgenet.kernels.lm.table import op

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
BUILDS = ("simd", "relaxed")
ROWS = ("q", "k", "v", "dy", "sequences")


@pytest.fixture(params=BUILDS)
def call(request, kernels):
    """call(kernel, values) -> outputs."""

    def made(kernel, values):
        code, out = kernels[request.param].call(kernel, values)
        assert code == 0
        return out

    return made


# --- over its input ---------------------------------------------------------------------------------------------------
def over_its_input(kernels, case, port):
    """(code, bytes) of the output where the kernel is given the address of input `port` for it."""
    row, base = op(case.kernel), kernels.instance.heap_base
    at, (name,) = plan(row, case.values, base), row.outputs()
    words = list(struct.unpack(f"<{len(at.program) // 4}I", at.program))
    words[words.index(at[name].offset)] = at[port].offset
    kernels.place(at, base)
    kernels.instance.write(at.program_at, struct.pack(f"<{len(words)}I", *words))
    code = kernels.instance.call("run", at.program_at, 0, 1)
    return code, kernels.instance.read(at[port].offset, at[name].size)


def in_place_cases():
    for case in cases.all_cases():
        answers = op(case.kernel).reference(case.values)[0] == 0 if case.kernel in IN_PLACE else False
        yield from (
            (case, port) for port in IN_PLACE.get(case.kernel, ()) if answers and case.values.get(port) is not None
        )


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("case,port", list(in_place_cases()), ids=str)
def test_a_kernel_gives_the_same_bits_over_its_input(kernels, build, case, port):
    _, want = kernels[build].call(case.kernel, case.values)
    code, got = over_its_input(kernels[build], case, port)
    assert code == 0 and got == next(iter(want.values())).tobytes()


# --- attention --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kernel,out", [("attention_rows", "y"), ("attention_rows_grad", "dx")])
@pytest.mark.parametrize("causal,window", [(1, 0), (1, 11), (0, 0)])
@pytest.mark.parametrize("length", [1, 16, 45])
def test_a_sequence_gives_the_same_bits_whatever_lies_around_it(call, kernel, out, causal, window, length):
    values = values_of(np.random.default_rng(length), [11, length, 19], 6, 2, 32, causal, window, 3.0)
    values["v"][[3, -4]] = np.nan  # of the neighbours
    own = slice(11, 11 + length)
    alone = values | {name: values[name][own] for name in ROWS} | {"n": length}
    assert (call(kernel, values)[out][own] == call(kernel, alone)[out]).all()


@pytest.mark.parametrize("window", [0, 9])
def test_rows_that_a_query_must_not_see_change_nothing(call, window):
    values = values_of(np.random.default_rng(5), [60], 4, 2, 16, window=window)
    spoiled = {name: values[name].copy() for name in ("q", "k", "v", "dy")}
    for array in spoiled.values():
        array[40:] = np.nan
    want, got = (call("attention_rows", v)["y"] for v in (values, values | spoiled))
    assert (got[:40] == want[:40]).all()
    want, got = (call("attention_rows_grad", v)["dx"][:, :4] for v in (values, values | spoiled))
    assert (got[:40] == want[:40]).all() and np.isnan(got[40:]).all()


def test_a_row_has_no_part_in_the_gradients_of_those_outside_its_window(call):
    values = values_of(np.random.default_rng(6), [60], 2, 1, 16, window=9)
    changed = values | {"dy": values["dy"].copy()}
    changed["dy"][50] = np.nan  # sees rows 42 to 50
    want, got = (call("attention_rows_grad", v)["dx"] for v in (values, changed))
    assert (got[:42] == want[:42]).all() and (got[51:] == want[51:]).all() and np.isnan(got[42:51, 2:]).all()


def test_the_gradient_keeps_attention_that_the_forward_kernel_gives(call):
    """dv of a one-hot dy is the column of weights by which the forward kernel mixes values."""
    values = values_of(np.random.default_rng(7), [33], 1, 1, 4, softcap=2.0)
    values["dy"][:] = 0
    values["dy"][32, 0, 0] = 1
    eye = values | {"v": np.zeros((33, 1, 4), np.float32)}
    weights = call("attention_rows_grad", values)["dx"][:, 2, 0]
    for row in (0, 15, 16, 32):
        eye["v"][:] = 0
        eye["v"][row, 0, 0] = 1
        assert call("attention_rows", eye)["y"][32, 0, 0] == pytest.approx(weights[row], rel=1e-5)


# --- the rest ---------------------------------------------------------------------------------------------------------
def test_a_row_is_adapted_the_same_alone_and_among_others(call):
    case = next(c for c in cases.all_cases(("adapters",)) if "unequal ranks" in c.reason)
    together = call("adapters", case.values)["y"]
    for i in range(case.values["n"]):
        alone = case.values | {name: case.values[name][i : i + 1] for name in ("x", "mix", "y")} | {"n": 1}
        assert (call("adapters", alone)["y"][0] == together[i]).all()
    assert (together[3] == case.values["y"][3]).all()  # wants none


def test_a_confident_row_has_a_small_loss_and_no_false_gradient(call):
    rows = {"targets": np.array([1], np.int32), "weights": np.ones(1, np.float32), "n": 1}
    chunk = rows | {"logits": np.array([[0, 20, -5, 1]], np.float32), "v": 4, "first": 0, "before": None}
    stats = call("token_stats", chunk)
    want = np.log1p(np.exp(-20.0) + np.exp(-25.0) + np.exp(-19.0))
    assert abs(call("cross_entropy", rows | stats)["y"][0] - want) < 1e-7
    out = call("cross_entropy_grad", chunk | stats)["out"][0]
    assert np.abs(out - [np.exp(-20), 0, np.exp(-25), np.exp(-19)]).max() < 1e-7


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_dropout_drops_its_share_and_other_places_at_other_sites_and_steps(call, rate):
    def kept(**more):
        values = {"x": np.ones((64, 129), np.float32), "seeds": np.array([1, 2, 3, 0], np.uint32), "n": 64, "d": 129}
        return call("dropout", values | {"rate": np.float32(rate), "stream": 0} | more)["y"] != 0

    masks = [
        kept(),
        kept(stream=1),
        kept(seeds=np.array([1, 2, 4, 0], np.uint32)),
        kept(seeds=np.array([9, 2, 3, 0], np.uint32)),
    ]
    spread = 5 * np.sqrt(rate * (1 - rate) / masks[0].size)
    assert all(abs(mask.mean() - (1 - rate)) < spread for mask in masks)
    both = [(masks[0] & mask).mean() for mask in masks[1:]]
    assert np.abs(np.array(both) - (1 - rate) ** 2).max() < 2 * spread  # independent


@pytest.mark.parametrize(
    "row", json.loads((VECTORS / "optimizers.json").read_text()), ids=lambda r: f"{r['optimizer']} {r['options']}"
)
def test_optimisers_step_as_those_of_torch(call, row):
    names = {"adamw": ("first", "second"), "sgd": ("momentum",)}[row["optimizer"]]
    count = len(row["parameters"])
    states = {name: np.zeros(count, np.float32) for name in names} | {
        "parameters": np.array(row["parameters"], np.float32)
    }
    for number, step in enumerate(row["steps"], start=1):
        gradients = np.array(step["gradients"], np.float32)
        length = call("norm", {"x": gradients, "count": count})["y"]
        words = hyper(**row["options"], step=number)
        states = call(
            row["optimizer"], states | {"gradients": gradients, "norm": length, "hyper": words, "count": count}
        )
        assert not states.pop("gradients").any()
        for name, want in step["after"].items():
            assert close(states[name], np.array(want, np.float32), 1e-6), (number, name)


@pytest.mark.parametrize(
    "case", [c for c in cases.all_cases(("optimizer",)) if "destroys nothing" in c.reason], ids=str
)
def test_a_refused_update_changes_nothing(kernels, case):
    lm = kernels["simd"]
    code, _ = lm.call(case.kernel, case.values)
    at = plan(op(case.kernel), case.values, lm.instance.heap_base)
    assert code == 1
    for array in at.arrays:
        assert lm.instance.read(array.offset, array.size) == array.data


@pytest.mark.long
def test_the_steps_kept_here_are_those_torch_takes_now():
    pytest.importorskip("torch")
    from tools.oracles.optimizers import ROWS, steps

    kept = json.loads((VECTORS / "optimizers.json").read_text())
    for row, (name, options) in zip(kept, ROWS, strict=True):
        for old, new in zip(row["steps"], steps(name, options)["steps"], strict=True):
            assert all(
                new["after"][state] == pytest.approx(numbers, rel=1e-6) for state, numbers in old["after"].items()
            )
