"""Our GGUF against the `gguf` package itself: tables, blocks, what each writes and the other reads. CPython with that package only."""

from array import array

import numpy as np
import pytest

from edgenet.formats.blocks import BLOCKS, QUANTIZED, dequantize, quantize
from edgenet.formats.types import FILE_TYPES, TYPES, row_bytes
from tests.unit.test_gguf_write import METADATA, WEIGHTS, header, written

gguf = pytest.importorskip("gguf")


def test_the_table_of_types_is_that_of_the_gguf_package():
    want = {t.name.lower(): (int(t), *gguf.GGML_QUANT_SIZES[t]) for t in gguf.GGMLQuantizationType}
    assert {t.name: (t.id, t.elements, t.bytes) for t in TYPES.values()} == want


def test_the_names_of_mixes_are_those_of_the_gguf_package():
    want = {int(t): t.name.removeprefix("MOSTLY_").removeprefix("ALL_") for t in gguf.LlamaFileType}
    assert FILE_TYPES == {number: name for number, name in want.items() if name != "GUESSED"}


@pytest.mark.parametrize("name", list(BLOCKS))
def test_random_blocks_are_read_as_by_the_gguf_package(name):
    blocks = np.random.default_rng(3).integers(0, 256, (16, row_bytes(name, 1024)), np.uint8)
    with np.errstate(all="ignore"):
        want = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name.upper()])
    assert dequantize(name, blocks, 16, 1024).tobytes() == want.tobytes()


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_random_weights_are_quantised_as_by_the_gguf_package(name, scale):
    x = (np.random.default_rng(4).standard_normal((32, 512)) * scale).astype(np.float32)
    assert quantize(name, x) == gguf.quants.quantize(x, gguf.GGMLQuantizationType[name.upper()]).tobytes()


def test_the_gguf_package_finds_what_was_written(tmp_path):
    (tmp_path / "m.gguf").write_bytes(written())
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    values = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert values == {k: list(v) if isinstance(v, array) else v for k, v in METADATA.items()}
    found = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    assert np.array_equal(found["b"], WEIGHTS["b"]) and np.abs(found["a"] - WEIGHTS["a"]).max() < 0.03


def test_what_the_gguf_package_writes_is_read(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_block_count(2)
    writer.add_token_list(["a", "b"])
    writer.add_token_scores([0.5, -1.0])
    writer.add_tensor("w", WEIGHTS["a"])
    writer.add_tensor(
        "v",
        gguf.quants.quantize(WEIGHTS["b"], gguf.GGMLQuantizationType.Q4_0),
        raw_dtype=gguf.GGMLQuantizationType.Q4_0,
    )
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    data = (tmp_path / "m.gguf").read_bytes()
    found, v = header(data), header(data).tensors["v"]
    assert found.get(".block_count", int) == 2 and found.metadata["tokenizer.ggml.tokens"] == ["a", "b"]
    assert found.tensors["w"].shape == (3, 64) and (v.type, v.shape) == ("q4_0", (2, 96))
    assert data[v.offset : v.offset + v.bytes] == quantize("q4_0", WEIGHTS["b"])
