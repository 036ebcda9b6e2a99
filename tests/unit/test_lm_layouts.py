"""Weight layouts: sizes, the C repacker against its NumPy twin, and both against what a file's blocks mean."""

import re
from pathlib import Path

import numpy as np
import pytest

from edgenet.errors import NotFinite, UnsupportedFeature
from edgenet.formats.blocks import BLOCKS, QUANTIZED, dequantize, quantize
from edgenet.formats.types import TYPES, row_bytes
from edgenet.host.wasmtime_engine import Instance, WasmtimeRuntime
from edgenet.kernels.codes import INVALID_INPUT, INVALID_PARAMS, OK
from edgenet.kernels.lm import layouts
from edgenet.kernels.lm.quantize import PANELS
from edgenet.kernels.lm.weights import FORMS, keep, numbers

ROOT = Path(__file__).resolve().parents[2]
KINDS = tuple(layouts.TYPES)
WIDTH = 512  # two of the largest blocks
POISON = 0xA5


@pytest.fixture(scope="module", params=["simd", "relaxed"])
def engine(request, lm_modules):
    with WasmtimeRuntime(tick_ms=5, budget=4000) as runtime:
        yield Instance(runtime, runtime.compile(lm_modules[request.param]), "The engine module", runtime.pages)


def raw_matrix(kind: str, rows: int, columns: int = WIDTH) -> np.ndarray:
    """Bytes of a matrix as a file could hold it: all bit patterns, scales of every size."""
    rng = np.random.default_rng(layouts.layout_of(kind).code + rows)
    if kind in QUANTIZED[:3]:
        return np.frombuffer(quantize(kind, rng.standard_normal((rows, columns)).astype(np.float32)), np.uint8).copy()
    raw = rng.integers(0, 256, rows * row_bytes(kind, columns), np.uint8)
    blocks = raw.view(BLOCKS[kind])
    for name in {"d", "dmin", "m"} & set(blocks.dtype.names):
        blocks[name] = rng.standard_normal(len(blocks)) * 10.0 ** rng.integers(-5, 2, len(blocks))
    return raw


def repack(
    engine: Instance, kind: str, raw: np.ndarray, rows: int, pieces: tuple[int, ...] = (), **more
) -> tuple[int, bytes]:
    """(code, bytes of the whole matrix) after repacking piece by piece; what lies behind it must stay as it was."""
    layout, bounds = layouts.layout_of(kind), (0, *pieces, rows)
    columns = more.get("columns", WIDTH)
    size, source = layouts.bytes(layout.name, rows, columns), engine.heap_base
    target = -(-(source + raw.size) // 64) * 64 + 64
    engine.reserve(target + size + 64)
    engine.write(target, bytes([POISON]) * (size + 64))
    code = OK
    for first, end in zip(bounds, bounds[1:], strict=False):
        part = raw.reshape(rows, -1)[first:end].tobytes()
        engine.write(source, part)
        of = {"type": TYPES[kind].id, "layout": layout.code, "columns": columns, **more}
        call = (of["type"], of["layout"], source, target, rows, of["columns"], first, end - first)
        code = code or engine.call("repack", *call)
    assert bytes(engine.read(target + size, 64)) == bytes([POISON]) * 64
    return code, bytes(engine.read(target, size))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_the_repacker_writes_what_its_twin_does(engine, kind, rows):
    raw = raw_matrix(kind, rows)
    assert repack(engine, kind, raw, rows) == (OK, keep(kind, raw.tobytes(), rows, WIDTH).data)


@pytest.mark.parametrize("kind", KINDS)
def test_groups_of_rows_can_come_in_pieces(engine, kind):
    raw = raw_matrix(kind, 14)
    assert repack(engine, kind, raw, 14, (4, 12)) == repack(engine, kind, raw, 14)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_matrix_is_that_of_the_file(kind):
    """Products of scales are rounded to f16 in the K types: 2^-11 of the largest part of a weight, or half a step of f16's subnormals."""
    raw = raw_matrix(kind, 9).tobytes()
    want = dequantize(kind, raw, 9, WIDTH)
    got = numbers(keep(kind, raw, 9, WIDTH), 9, WIDTH)
    if not kind.endswith("_k"):
        assert (got == want).all()
        return
    largest = np.abs(want.reshape(9, -1, 32)).max(axis=2).repeat(32, axis=1)
    assert (np.abs(got - want) <= 2.0**-10 * largest + 64 * 2.0**-25).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_engine_takes_at_most_15_percent_more_than_the_file(kind):
    assert layouts.bytes(layouts.layout_of(kind).name, 896, 1024) <= 1.15 * 896 * row_bytes(kind, 1024)


def scale_fields():
    return [
        (k, n)
        for k in KINDS
        for n in ("d", "m", "dmin", "q")
        if n in BLOCKS[k].names and not (n == "q" and k == "bf16")
    ]


@pytest.mark.parametrize(("kind", "field"), scale_fields())
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scales_that_are_not_finite_are_refused(engine, kind, field, bad):
    raw = raw_matrix(kind, 6)
    blocks = raw.view(BLOCKS[kind])
    blocks[field][len(blocks) // 2] = bad
    with pytest.raises(NotFinite):
        keep(kind, raw.tobytes(), 6, WIDTH)
    assert repack(engine, kind, raw, 6)[0] == INVALID_INPUT


def test_a_product_of_scales_beyond_f16_is_refused(engine):
    raw = raw_matrix("q6_k", 4)
    raw.view(BLOCKS["q6_k"])["d"][3], raw.view(BLOCKS["q6_k"])["scales"][3] = 60000, 100
    assert repack(engine, "q6_k", raw, 4)[0] == INVALID_INPUT


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_numbers_of_16_bits_can_be_kept_as_f32(engine, kind):
    raw, columns = raw_matrix(kind, 1, 37), 37
    source, target = engine.heap_base, engine.heap_base + 4096
    engine.write(source, raw.tobytes())
    call = (TYPES[kind].id, layouts.LAYOUTS["f32"].code, source, target, 1, columns, 0, 1)
    assert engine.call("repack", *call) == OK
    got = np.frombuffer(bytes(engine.read(target, 4 * columns)), np.float32)
    assert (got == dequantize(kind, raw.tobytes(), 1, columns)[0]).all()


BAD_CALLS = {
    "a type that nobody multiplies": {"type": TYPES["q2_k"].id},
    "a layout for another type": {"layout": layouts.LAYOUTS["q8"].code},
    "a layout that is not there": {"layout": len(layouts.LAYOUTS)},
    "no whole block": {"columns": 48},
}


@pytest.mark.parametrize("more", BAD_CALLS.values(), ids=BAD_CALLS)
def test_calls_that_make_no_sense_write_nothing(engine, more):
    code, made = repack(engine, "q4_0", raw_matrix("q4_0", 4), 4, **more)
    assert code == INVALID_PARAMS
    assert set(made) == {POISON}


@pytest.mark.parametrize("pieces", [(2,), (5,)])
def test_half_a_group_can_only_be_the_last(engine, pieces):
    assert repack(engine, "q4_0", raw_matrix("q4_0", 8), 8, pieces)[0] == INVALID_PARAMS


def test_a_type_without_a_kernel_is_refused_by_name():
    with pytest.raises(UnsupportedFeature, match="q2_k"):
        layouts.layout_of("q2_k")


def test_c_python_and_numpy_agree_on_names_codes_and_bytes():
    source = (ROOT / "wasm" / "lm" / "layouts.h").read_text()
    listed = re.search(r"enum \{ (LAYOUT_F32.*?), LAYOUT_COUNT", source).group(1).split(", ")
    assert [name.removeprefix("LAYOUT_").lower() for name in listed] == list(layouts.LAYOUTS)
    assert {name: form.itemsize for name, form in FORMS.items()} == {
        name: layout.unit for name, layout in layouts.LAYOUTS.items() if layout.quantized
    }
    assert PANELS.itemsize == layouts.PANEL_BLOCK == layouts.quantized_bytes(1, 32)
    assert layouts.quantized_bytes(5, 64) == 2 * 2 * layouts.PANEL_BLOCK
