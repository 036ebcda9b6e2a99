"""Every kernel on every Python engine against its NumPy reference; descriptors; traps and limits in wasmtime."""

import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from edgenet import errors
from edgenet.host.wasmtime_engine import WasmtimeRuntime
from edgenet.kernels import KERNELS, NumpyEngine, layouts
from edgenet.kernels.cases import all_cases
from edgenet.kernels.descriptor import Descriptor, Region, layout
from edgenet.kernels.ext import EXTENSIONS, ExtCall, ext_cases
from edgenet.kernels.health import close

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
import kernel_pack  # noqa: E402

ENGINES = ("engine.simd.wasm", "engine.relaxed.wasm")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    return kernel_pack.write_pack(tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="module")
def runtime():
    with WasmtimeRuntime(tick_ms=2, budget=1000) as it:
        yield it


@pytest.fixture(scope="module")
def engines(built, runtime):
    return {name: runtime.engine((built / name).read_bytes()) for name in ENGINES}


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_kernel_answers_as_its_reference(engines, name, case):
    row = KERNELS[case.kernel]
    code, want = row.reference(case.values)
    got_code, got = engines[name].call(case.kernel, **case.values)
    assert got_code == code
    for output in row.outputs() if code == 0 else ():
        assert close(got[output], want[output], row.tolerance), output


@pytest.mark.parametrize("call", ext_cases(), ids=str)
def test_extension_kernel_answers_as_its_reference(built, runtime, call):
    row = EXTENSIONS[call.kernel]
    code, want, scratch = row.reference(call)
    got_code, got, got_scratch = runtime.extension(
        (built / "ext" / f"{call.kernel}.wasm").read_bytes(), call.kernel
    ).call(call)
    assert got_code == code
    if code == 0:
        assert close(got, want, row.tolerance)
        assert not row.keeps_scratch or close(got_scratch, scratch, row.tolerance)


def test_every_kernel_has_cases_for_ok_and_for_refusal():
    codes = {name: set() for name in KERNELS}
    for case in all_cases():
        codes[case.kernel].add(KERNELS[case.kernel].reference(case.values)[0])
    assert all(0 in found and found - {0} for found in codes.values()), codes


def test_rmsnorm_reference_is_the_formula():
    x, w = np.array([3.0, 4.0], np.float32), np.array([1.0, 2.0], np.float32)
    call = ExtCall(
        "rmsnorm_f32",
        EXTENSIONS["rmsnorm_f32"].pack_params(eps=0.0, hidden=2, rows=1),
        x,
        w,
        np.zeros(2, np.float32),
        1,
    )
    _, y, scratch = EXTENSIONS["rmsnorm_f32"].reference(call)
    assert np.allclose(y, [3 / 12.5**0.5, 8 / 12.5**0.5]) and np.allclose(scratch, 12.5**0.5)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("rows,d,k", [(1000, 384, 10), (317, 33, 50), (5, 7, 5)])
def test_topk_scores_real_vectors_as_the_reference(engines, name, rows, d, k):
    rng = np.random.default_rng(rows)
    m, q = rng.standard_normal((rows, d)).astype(np.float32), rng.standard_normal(d).astype(np.float32)
    got = engines[name].run("topk_dot", m=m, q=q, rows=rows, d=d, k=k)
    exact = m.astype(np.float64) @ q
    best = np.sort(exact)[::-1][:k]
    assert (
        np.abs(got["score"][0] - best).max() < 1e-5 * np.abs(m).max() * d
    )  # places may swap where exact scores are this close
    assert np.abs(exact[got["index"][0]] - best).max() < 1e-5 * np.abs(m).max() * d
    assert len(set(got["index"][0])) == k


def test_c_structs_follow_the_table():
    source = "\n".join(p.read_text() for p in sorted((ROOT / "wasm" / "ops").glob("*.c")))
    for name, args in layouts().items():
        body = re.search(r"typedef struct \{((?:(?!typedef).)*?)\} " + name + "_args;", source, re.S)[1]
        code = re.sub(r"//[^\n]*", "", body)
        names = [
            re.split(r"[\s*]+", f.strip())[-1] for line in code.split(";") if line.strip() for f in line.split(",")
        ]
        assert names == [a[0] for a in args], name


def test_engine_modules_are_small(built):
    assert all(p.stat().st_size < 230_000 for p in built.glob("engine.*.wasm"))


def test_two_builds_give_the_same_bytes(built, tmp_path):
    again = kernel_pack.write_pack(tmp_path)
    for path in sorted(p.relative_to(built) for p in built.rglob("*") if p.is_file()):
        assert (built / path).read_bytes() == (again / path).read_bytes(), path


BAD_VALUES = [
    ("x too long", {"x": np.zeros(5, np.float32)}, errors.ShapeMismatch),
    ("no x", {"x": None}, errors.ShapeMismatch),
    ("a scalar of the wrong type", {"d": "four"}, errors.InvalidParameters),
    ("a negative size", {"d": -1}, errors.InvalidParameters),
]


@pytest.mark.parametrize("reason,change,error", BAD_VALUES, ids=[b[0] for b in BAD_VALUES])
def test_engine_refuses_wrong_arguments(engines, reason, change, error):
    values = {"x": np.zeros((1, 4), np.float32), "rows": 1, "d": 4}
    with pytest.raises(error):
        engines[ENGINES[0]].call("normalize", **{**values, **change})


def test_unknown_kernel_is_named(engines):
    with pytest.raises(errors.KernelNotFound, match="no_such"):
        engines[ENGINES[0]].call("no_such")
    with pytest.raises(errors.KernelNotFound):
        NumpyEngine().call("no_such")


def test_run_turns_a_return_code_into_an_error(engines):
    with pytest.raises(errors.KernelTrap) as caught:
        engines[ENGINES[0]].run("all_finite", x=np.array([np.nan], np.float32), n=1)
    assert caught.value.details["returned"] == 1


# --- traps and limits ------------------------------------------------------------------------------------------------
TRAPS = [
    ("runaway", errors.EpochDeadline),
    ("unreachable", errors.Unreachable),
    ("out_of_bounds", errors.MemoryAccessViolation),
    ("divide", errors.IntegerOverflow),
    ("recursion", errors.StackOverflow),
    ("bad_call", errors.IndirectCallTypeMismatch),
]
CALL = ExtCall("test", b"", np.ones(4, np.float32), np.zeros(0, np.float32), np.zeros(4, np.float32), 0)


@pytest.mark.parametrize("name,error", TRAPS)
def test_a_bad_kernel_is_stopped_by_name_and_the_host_goes_on(built, runtime, name, error):
    bad = runtime.extension((built / "bad" / f"{name}.wasm").read_bytes(), name, budget=20)
    for _ in range(2):  # the second call runs in a fresh instance
        with pytest.raises(error):
            bad.call(CALL)
    good = next(c for c in ext_cases() if c.reason == "odd width")
    code, y, _ = runtime.extension((built / "ext" / "rmsnorm_f32.wasm").read_bytes(), "rmsnorm_f32").call(good)
    assert code == 0 and np.isfinite(y).all()


def test_a_kernel_is_given_its_reserved_bytes_and_not_more_pages_than_its_limit(built, runtime):
    kernel = runtime.extension((built / "ext" / "rmsnorm_f32.wasm").read_bytes(), "rmsnorm_f32", pages=4)
    big = ExtCall(
        "rmsnorm_f32", b"", np.zeros(100_000, np.float32), np.zeros(1, np.float32), np.zeros(100_000, np.float32), 0
    )
    with pytest.raises(errors.AllocationFailed):
        kernel.call(big)


def test_what_is_not_a_module_is_refused(runtime):
    with pytest.raises(errors.InvalidPack):
        runtime.engine(b"not wasm")


def test_kernel_info_tells_the_size_of_its_parameters(built, runtime):
    info = runtime.extension((built / "ext" / "rmsnorm_f32.wasm").read_bytes(), "rmsnorm_f32").info()
    assert info == {"abi": 1, "params_size": 12, "scratch_size": 0, "has_backward": 0}


# --- the descriptor --------------------------------------------------------------------------------------------------
GOOD = layout({"params": 12, "a": 100, "b": 20, "out": 100, "scratch": 8}, 1000)


def test_descriptor_is_ten_little_endian_words():
    made = Descriptor(Region(64, 4), Region(80, 8), Region(96, 12), Region(112, 16), Region(128, 20))
    assert made.pack() == struct.pack("<10I", 64, 4, 80, 8, 96, 12, 112, 16, 128, 20)
    assert Descriptor.unpack(made.pack()) == made


def test_layout_is_aligned_apart_and_above_the_base():
    GOOD.check(65536)
    assert all(r.offset % 16 == 0 and r.offset >= 1000 for r in GOOD.regions().values())


WRONG = [
    ("outside memory", {"a": Region(65536 - 16, 32)}, errors.MemoryAccessViolation),
    ("offset + size overflows 32 bits", {"a": Region(0xFFFFFFF0, 0x20)}, errors.MemoryAccessViolation),
    ("inside the reserved 64 bytes", {"params": Region(48, 12)}, errors.MemoryAccessViolation),
    ("not aligned", {"b": Region(4104, 20)}, errors.InvalidParameters),
    ("output over input a", {"out": Region(GOOD.a.offset, 16)}, errors.InvalidParameters),
    ("output over input b", {"out": Region(GOOD.b.offset, 16)}, errors.InvalidParameters),
    ("output over params", {"out": Region(GOOD.params.offset, 16)}, errors.InvalidParameters),
    ("output over scratch", {"out": Region(GOOD.scratch.offset, 16)}, errors.InvalidParameters),
]


@pytest.mark.parametrize("reason,change,error", WRONG, ids=[w[0] for w in WRONG])
def test_descriptor_refuses(reason, change, error):
    regions = {n: getattr(GOOD, n) for n in ("a", "b", "out", "scratch", "params")}
    with pytest.raises(error):
        Descriptor(**{**regions, **change}).check(65536)
