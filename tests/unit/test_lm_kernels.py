"""Every kernel of language models in both builds against its NumPy reference, and that none touches a byte beside its arrays.

What more is asked of kernels that read matrices is in test_lm_matmul.py.
"""

import numpy as np
import pytest

from edgenet.kernels.health import close
from edgenet.kernels.lm import cases
from edgenet.kernels.lm.attention import attend
from edgenet.kernels.lm.interpreter import ALIGN
from edgenet.kernels.lm.record import plan
from edgenet.kernels.lm.table import NEOX, OPS, op

BUILDS = ("simd", "relaxed")
OWN = tuple(m for m in cases.MODULES if m not in ("matmul", "quantize"))
CASES = list(cases.all_cases(OWN))


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("case", list(cases.all_cases()), ids=str)
def test_kernel_answers_as_its_reference(kernels, build, case):
    row = op(case.kernel)
    want_code, want = row.reference(case.values)
    code, got = kernels[build].call(case.kernel, case.values)
    assert code == want_code
    for name in row.outputs() if code == 0 else ():
        assert close(got[name], want[name], case.tolerance or row.tolerance), name


def memory_after(kernels, case, poison):
    """(code, all memory of the call, its plan) with everything around the arrays filled with `poison`."""
    kernels.poison = poison
    code, _ = kernels.call(case.kernel, case.values)
    base = kernels.instance.heap_base
    at = plan(op(case.kernel), case.values, base)
    return code, np.frombuffer(kernels.instance.read(base, at.end - base), np.uint8), at


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bytes_beside_the_arrays_are_neither_written_nor_matter(kernels, build, case):
    base = kernels[build].instance.heap_base
    answers = []
    for poison in (0xFF, 0x3C):  # NaN; a small number
        code, memory, at = memory_after(kernels[build], case, poison)
        beside = np.ones(len(memory), bool)
        beside[: at.program_at - base + len(at.program)] = False
        for array in at.arrays:
            mine = slice(array.offset - base, array.offset - base + array.size)
            beside[mine] = False
            if array.data is not None and array.arg.kind != "inout":
                assert memory[mine].tobytes() == array.data, f"{array.arg.name} was written"
        assert (memory[beside] == poison).all()
        written = [a for a in at.arrays if a.arg.kind in ("out", "inout")]
        answers.append([memory[a.offset - base : a.offset - base + a.size].tobytes() for a in written])
    assert code or answers[0] == answers[1]


def test_arrays_of_a_call_lie_apart():
    at = plan(op("add"), {"x": np.ones((1, 16)), "y": np.ones((1, 16)), "n": 1, "d": 16}, 1000)
    ends = [a.offset + a.size for a in at.arrays]
    assert all(b.offset - end >= ALIGN for end, b in zip(ends, at.arrays[1:], strict=False))


def test_every_kernel_has_cases_for_ok_and_for_refusal():
    codes = {o.name: set() for o in OPS if o.module in OWN}
    for case in CASES:
        codes[case.kernel].add(op(case.kernel).reference(case.values)[0])
    assert all(0 in found and found - {0} for found in codes.values()), codes


# --- references against what is known otherwise ----------------------------------------------------------------------
def test_rms_norm_is_the_formula():
    x, w = np.array([[3.0, 4.0]], np.float32), np.array([1.0, 2.0], np.float32)
    _, out = op("rms_norm").reference({"x": x, "weight": w, "n": 1, "d": 2, "eps": 0.0})
    assert np.allclose(out["y"], [[3 / 12.5**0.5, 8 / 12.5**0.5]])


@pytest.mark.parametrize("style,first", [(NEOX, [-2, 1]), (1, [-2, 1])])
def test_rope_turns_a_quarter(style, first):
    table = np.array([[[0.0], [1.0]]], np.float32)
    _, out = op("rope").reference(
        {
            "x": np.array([[[1, 2]]], np.float32),
            "table": table,
            "n": 1,
            "heads": 1,
            "head_dim": 2,
            "half": 1,
            "style": style,
        }
    )
    assert (out["x"].ravel() == first).all()


def test_attention_of_equal_scores_is_the_mean():
    v = np.arange(12.0).reshape(4, 1, 3)
    assert np.allclose(attend(np.zeros((2, 3)), np.ones((4, 1, 3)), v, 1.0), v.mean(axis=0).repeat(2, axis=0))
