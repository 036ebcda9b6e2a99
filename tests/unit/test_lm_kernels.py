"""Every kernel of language models in both builds against its NumPy reference, and that none touches a byte beside its arrays."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from edgenet.host.wasmtime_engine import WasmtimeRuntime
from edgenet.host.wasmtime_lm import LmKernels
from edgenet.kernels.health import close
from edgenet.kernels.lm import cases, record, table
from edgenet.kernels.lm.table import OPS, op

ROOT = Path(__file__).resolve().parents[2]
BUILDS = ("simd", "relaxed")
OWN = tuple(
    m for m in cases.MODULES if m not in ("matmul", "quantize")
)  # weights need repacking first: test_lm_matmul.py
CASES = list(cases.all_cases(OWN))


@pytest.fixture(scope="module")
def runtime():
    with WasmtimeRuntime(tick_ms=5, budget=4000) as it:
        yield it


@pytest.fixture(scope="module")
def kernels(lm_modules, runtime):
    return {name: LmKernels(runtime, lm_modules[name]) for name in BUILDS}


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernel_answers_as_its_reference(kernels, build, case):
    row = op(case.kernel)
    want_code, want = row.reference(case.values)
    code, got = kernels[build].call(case.kernel, case.values)
    assert code == want_code
    for name in row.outputs() if code == 0 else ():
        assert close(got[name], want[name], case.tolerance or row.tolerance), name
