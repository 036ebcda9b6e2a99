"""The two built models on 500 varied sentences: float32 against NumPy, 8-bit against float32. CPython, real weights."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest

if sys.platform == "emscripten":
    pytest.skip("onnxruntime is not in Pyodide", allow_module_level=True)

from edgenet.errors import ModelInvalid
from edgenet.host.onnx import OnnxModel
from edgenet.session import InferenceSession
from tools.minilm import graph, quantise, reference, weights
from tools.paths import OUT
from tools.steps import assets

SENTENCES = (Path(__file__).parents[1] / "data/sentences.txt").read_text("utf-8").splitlines()
FP32, Q8 = (OUT / "models" / f"minilm-l6-v2-{kind}" for kind in ("fp32", "q8"))


@pytest.fixture(scope="module")
def vectors():
    return {
        folder: asyncio.run(InferenceSession(OnnxModel.from_folder(folder, 1)).embed_batch(SENTENCES))
        for folder in (FP32, Q8)
    }


def tensors():
    """The published weights."""
    return weights.parse_safetensors(weights.read_member(assets.model_wheel(), "model.safetensors"))


def test_float32_is_the_numpy_encoder(vectors):
    model, published = OnnxModel.from_folder(FP32, 1), tensors()
    for i in range(0, 500, 25):
        expected = reference.embed(published, model.encode(SENTENCES[i]))
        assert np.abs(vectors[FP32][i] - expected).max() < 1e-5, SENTENCES[i]


def test_8_bit_stays_close_to_float32_on_every_sentence(vectors):
    cosine = (vectors[FP32] * vectors[Q8]).sum(1)
    print(f"8-bit against float32, {len(cosine)} sentences: worst cosine {cosine.min():.5f}, mean {cosine.mean():.5f}")
    assert len(cosine) == 500 and cosine.min() >= 0.995 and cosine.mean() >= 0.999


def test_8_bit_keeps_the_order_of_neighbours(vectors):
    nearest = {folder: np.argsort(-(v @ v.T - 2 * np.eye(500)), axis=1)[:, :10] for folder, v in vectors.items()}
    kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(nearest[FP32], nearest[Q8], strict=True)])
    print(f"of the 10 nearest by float32, 8-bit keeps {kept:.3f}")
    assert kept >= 0.9


def test_the_8_bit_file_is_at_most_25_megabytes():
    assert (Q8 / "model.onnx").stat().st_size <= 25_000_000


def test_a_text_has_the_same_8_bit_vector_in_any_batch(vectors):
    session = InferenceSession(OnnxModel.from_folder(Q8, 1))
    assert all(
        np.abs(asyncio.run(session.embed(SENTENCES[i])) - vectors[Q8][i]).max() < 1e-6 for i in range(0, 500, 50)
    )


def test_calibration_texts_are_not_the_measured_ones():
    calibrated = Path(quantise.TABLE).with_name("calibration.txt").read_text("utf-8").splitlines()
    assert len(calibrated) == 400 and not set(calibrated) & set(SENTENCES)


def test_every_product_of_the_graph_has_a_calibration():
    products = {f"layer{layer}.{part}" for layer in range(graph.LAYERS) for part in ("qkv", "out", "up", "down")}
    assert quantise.load_table().keys() == products


@pytest.mark.parametrize(
    "files", [{}, {"model.onnx": b"x", "tokenizer.json": b"{}", "config.json": b"{}"}], ids=["none", "nonsense"]
)
def test_files_that_are_no_model_are_refused_by_name(files):
    with pytest.raises(ModelInvalid):
        OnnxModel(files)
