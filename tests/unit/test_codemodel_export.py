"""The code model's export: torch's own logits from the GGUF file, and its tokenizer from the file's metadata. Needs torch."""

import asyncio
import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from edgenet.host.gguf_files import GgufFiles
from edgenet.models import build
from edgenet.models.compiled import compile_gguf, default_capacity
from edgenet.run import GraphEngine
from edgenet.text.gguf_tokenizer import tokenizer_json

torch = pytest.importorskip("torch")
from tools.codemodel import export, tokens  # noqa: E402 - they need torch
from tools.codemodel.network import Decoder, Shape  # noqa: E402

SHAPE = Shape(width=64, layers=2, heads=4, kv_heads=2, ffn=96, context=64)
TEXT = "def area(width, height):\n    '''déjà vu 🎉'''\n    return width * height\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder as a training run leaves it, the network): random weights, biases and norms that are not 0 and 1."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(1)
    network = Decoder(SHAPE).eval()
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(torch.randn_like(weights) * 0.1)
    tokens.train([TEXT * 3]).save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(SHAPE.config()))
    torch.save({"model": network.state_dict(), "step": 7}, folder / "checkpoint.pt")
    return folder, network


def exported(folder, kind):
    path = folder / f"{kind}.gguf"
    export.export(folder, path, kind)
    return GgufFiles(path)


@pytest.mark.parametrize(("kind", "most"), [("f32", 1e-4), ("q8_0", 0.2)])
def test_the_file_gives_the_networks_logits(trained, kind, most):
    folder, network = trained
    model, ids = exported(folder, kind), [1, 200, 17, 4095, 3, 99, 1000]
    capacity = default_capacity(model.header)
    made = compile_gguf(model.header, capacity)
    places = {w.name: w for w in made.program.weights}

    async def last():
        engine = GraphEngine(capacity, "f64")
        await engine.load(build(model.header), lambda name: (places[name].type, read(model, places[name])))
        for name, values in (
            ("tokens", ids),
            ("positions", range(len(ids))),
            ("sequences", [0] * len(ids)),
            ("wanted", [6]),
        ):
            await engine.write(name, np.array(values, np.int32))
        await engine.run(n=len(ids), m=1, s=1)
        return await engine.read("logits")

    with torch.no_grad():
        wanted = network(torch.tensor([ids]))[0, -1].numpy()
    assert np.abs(asyncio.run(last())[0] - wanted).max() <= most


def read(model, weight):
    return model.read(0, weight.offset, weight.bytes)


def test_the_tokenizer_is_the_trained_one_and_a_module_begins_with_its_mark(trained):
    folder, _ = trained
    made = Tokenizer.from_str(json.dumps(tokenizer_json(exported(folder, "f32").header.metadata)))
    first, *rest = made.encode(TEXT).ids
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert rest == own.encode(TEXT).ids and first == own.token_to_id(tokens.END)


def test_a_checkpoint_with_a_tensor_that_has_no_place_is_refused():
    with pytest.raises(AssertionError, match="layers.0.extra"):
        export.tensors({"layers.0.extra": torch.zeros(1)}, 1)
