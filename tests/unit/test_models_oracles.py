"""The committed answers are what transformers and llama.cpp say today. Needs torch and transformers, or llama-cpp-python; with --long."""

import json

import numpy as np
import pytest

from tests.unit.small_model_runs import DECODERS, MIXED, PROMPTS, ROWS, TEXT_ENCODERS, recorded, unpacked
from tools.oracles.small_models import MODELS

pytestmark = pytest.mark.long
for package in ("torch", "transformers"):
    pytest.importorskip(package)
from tools.oracles import hugging_face, lora_gradients  # noqa: E402 - they need both


@pytest.mark.parametrize("name", DECODERS + MIXED)
def test_transformers_still_gives_the_committed_logits(name):
    for prompt, text in zip(PROMPTS, recorded(name)["logits"], strict=True):
        found = hugging_face.logits_of(MODELS[name], prompt)[-ROWS:]
        assert np.abs(found - unpacked(text, ROWS, -1)).max() <= 1e-4


@pytest.mark.parametrize("name", TEXT_ENCODERS)
def test_transformers_still_gives_the_committed_vectors(name):
    for found, text in zip(hugging_face.vectors_of(MODELS[name], PROMPTS), recorded(name)["vectors"], strict=True):
        assert np.abs(found - unpacked(text, -1)).max() <= 1e-5


@pytest.mark.parametrize("name", DECODERS + MIXED)
def test_llama_cpp_still_gives_the_committed_logits_and_tokens(name):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not here")
    from tools.oracles import llama_cpp_oracle

    for kind, found in llama_cpp_oracle.answers(MODELS[name], PROMPTS).items():
        was = recorded(name)["llama.cpp"][kind]
        assert found["greedy"] == was["greedy"] or kind != "F32"
        for now, before in zip(found["logits"], was["logits"], strict=True):
            assert np.abs(unpacked(now, -1) - unpacked(before, -1)).max() <= 1e-2


@pytest.mark.parametrize("name", lora_gradients.CASES)
def test_torch_still_gives_the_committed_losses_and_gradients(name):
    was = json.loads((lora_gradients.FOLDER / f"{name}.json").read_text("utf-8"))
    asked = lora_gradients.losses_and_gradients(*lora_gradients.CASES[name])
    for found, text in zip(asked, (was["losses"], was["gradients"]), strict=True):
        assert np.abs(found - unpacked(text, -1)).max() <= 1e-5 * np.abs(found).max()
