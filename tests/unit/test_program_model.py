"""The published 8-bit MiniLM on the engine in wasmtime, as the command line runs it: against float32 ONNX, alone and in company."""

import asyncio
import json

import numpy as np
import pytest

from edgenet.cli.language import kernels, weights_of
from edgenet.errors import NotSupported
from edgenet.host.gguf_files import GgufFiles
from edgenet.host.onnx import OnnxModel
from edgenet.host.program import ProgramModel
from edgenet.models.compiled import compile_gguf
from edgenet.session import InferenceSession
from tests.browser import lmmodel
from tests.unit.test_minilm_gguf import FP32, SENTENCES
from tools.paths import OUT, ROOT

FOLDER = OUT / "models" / "minilm-l6-v2-q8-2.0.0"
VECTORS = json.loads((ROOT / "tests/vectors/tokenize.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def session():
    source = GgufFiles(FOLDER / "model.gguf")
    made = compile_gguf(source.header)
    model = ProgramModel(made, kernels())
    asyncio.run(model.load(weights_of(made.program, source, lambda *_: None)))
    session = InferenceSession(model)
    yield session
    asyncio.run(session.dispose())


def test_500_sentences_stay_close_to_float32(session):
    exact = asyncio.run(InferenceSession(OnnxModel.from_folder(FP32, 1)).embed_batch(SENTENCES))
    cosine = (asyncio.run(session.embed_batch(SENTENCES)) * exact).sum(1)
    print(f"against float32, {len(cosine)} sentences: worst cosine {cosine.min():.5f}, mean {cosine.mean():.5f}")
    assert len(cosine) == 500 and cosine.min() >= 0.998 and cosine.mean() >= 0.9995


def test_the_file_is_at_most_25_megabytes():
    assert (FOLDER / "model.gguf").stat().st_size <= 25_000_000


def test_a_text_has_the_same_vector_in_any_batch(session):
    together = asyncio.run(session.embed_batch(SENTENCES[:100]))
    alone = np.stack([asyncio.run(session.embed(text)) for text in SENTENCES[:100:10]])
    assert (alone == together[::10]).all()


def test_a_long_text_is_the_mean_of_its_passages(session):
    text = " ".join(SENTENCES[:60])
    passages = [p.text for p in session.split(text, overlap=0)]
    weights = np.array([session.count_tokens(p) for p in passages], np.float32)
    mean = weights @ asyncio.run(session.embed_batch(passages))
    assert len(passages) > 2
    np.testing.assert_allclose(asyncio.run(session.embed(text)), mean / np.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize("row", VECTORS, ids=[row["why"] for row in VECTORS])
def test_tokens_are_those_of_the_published_tokenizer(session, row):
    assert session._model.encode(row["text"]) == row["ids"]


def test_a_model_that_generates_is_refused_by_name():
    made = compile_gguf(lmmodel.header_of(lmmodel.gguf("qwen2")))
    with pytest.raises(NotSupported, match="gives no vectors"):
        ProgramModel(made, kernels())
