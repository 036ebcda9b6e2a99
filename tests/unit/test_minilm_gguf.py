"""all-MiniLM-L6-v2 as GGUF on the engine module, against its float32 ONNX model on ONNX Runtime. CPython, real weights."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from edgenet.host.gguf_files import GgufFiles
from edgenet.host.onnx import OnnxModel
from edgenet.host.wasmtime_engine import WasmtimeRuntime
from edgenet.host.wasmtime_lm import WasmtimeLm
from edgenet.models.compiled import compile_gguf, default_capacity
from edgenet.session import InferenceSession
from tools.minilm import gguf
from tools.paths import OUT
from tools.steps import assets

SENTENCES = (Path(__file__).parents[1] / "data/sentences.txt").read_text("utf-8").splitlines()
CONTEXT = 256
FP32 = OUT / "models" / "minilm-l6-v2-fp32"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """(the file, what it compiles to) at Q8_0."""
    path = tmp_path_factory.mktemp("minilm") / "minilm-q8.gguf"
    gguf.build(assets.model_wheel(), path, "q8_0")
    model = GgufFiles(path)
    return model, compile_gguf(model.header, default_capacity(model.header, CONTEXT))


@pytest.fixture(scope="module")
def encoded(compiled):
    tokenizer = Tokenizer.from_str(json.dumps(compiled[1].tokenizer))
    return [tokenizer.encode(text).ids for text in SENTENCES]


@pytest.fixture(scope="module")
def wanted():
    """(500, 384): what the float32 model says."""
    return asyncio.run(InferenceSession(OnnxModel.from_folder(FP32, 1)).embed_batch(SENTENCES))


def batches(texts: list[list[int]], rows: int, most: int):
    """Texts in order, as many at once as one run takes."""
    batch: list[list[int]] = []
    for ids in texts:
        if len(batch) == most or sum(map(len, batch)) + len(ids) > rows:
            yield batch
            batch = []
        batch.append(ids)
    yield batch


async def embed(engine, program, weights, texts) -> np.ndarray:
    await engine.load(program, weights)
    found = []
    for batch in batches(texts, program.capacity.rows, program.capacity.sequences):
        positions = [np.arange(len(ids)) for ids in batch]
        numbers = [np.full(len(ids), i) for i, ids in enumerate(batch)]
        for name, parts in (("tokens", batch), ("positions", positions), ("sequences", numbers)):
            await engine.write(name, np.concatenate(parts).astype(np.int32))
        await engine.run(n=sum(map(len, batch)), m=0, s=len(batch))
        found.append(await engine.read("embedding"))
    return np.concatenate(found)


def test_the_tokenizer_in_the_file_is_the_published_one(encoded):
    published = Tokenizer.from_file(str(FP32 / "tokenizer.json"))
    assert encoded == [published.encode(text).ids for text in SENTENCES]


@pytest.mark.parametrize("build", ["simd", "relaxed"])
def test_8_bit_vectors_of_500_sentences_stay_close_to_float32(compiled, encoded, wanted, lm_modules, build):
    (model, made), places = compiled, {w.name: w for w in compiled[1].program.weights}

    def weights(name):
        return places[name].type, model.read(0, places[name].offset, places[name].bytes)

    with WasmtimeRuntime(tick_ms=5, budget=4000) as runtime:
        found = asyncio.run(embed(WasmtimeLm(runtime, lm_modules[build]), made.program, weights, encoded))
    cosine = (found * wanted).sum(1)
    print(
        f"{build}: Q8_0 against float32, {len(cosine)} sentences: worst cosine {cosine.min():.5f}, mean {cosine.mean():.5f}"
    )
    assert len(cosine) == 500 and cosine.min() >= 0.998
