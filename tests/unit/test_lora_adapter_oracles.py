"""PEFT opens what we write, llama.cpp what we write as GGUF: the same logits. Needs torch and peft (llama-cpp-python too); with --long."""

import ctypes

import numpy as np
import pytest

from edgenet.lora import gguf, peft
from tests.unit.small_adapters import NAMES, adapter, base, header, recorded, unpacked
from tools.oracles.small_adapters import CASES
from tools.oracles.small_models import MODELS, PROMPTS, ROWS, VOCABULARY

pytestmark = pytest.mark.long
for package in ("torch", "transformers", "peft"):
    pytest.importorskip(package)
from tools.oracles import peft_adapters  # noqa: E402 - it needs all three

SHORT = PROMPTS[0]  # fits in every sliding window: llama.cpp ignores some


@pytest.mark.parametrize("name", NAMES)
def test_peft_still_gives_the_committed_record(name):
    found, want = peft_adapters.record(name), recorded(name)
    assert found["weights"] == want["weights"]
    assert np.abs(unpacked(found["logits"], ROWS, -1) - unpacked(want["logits"], ROWS, -1)).max() <= 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_peft_opens_our_folder_with_the_same_logits(name):
    found = peft_adapters.logits(peft_adapters.opened(CASES[name].model, peft.write(adapter(name))))
    assert np.abs(found - unpacked(recorded(name)["logits"], ROWS, -1)).max() <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_peft_opens_an_adapter_that_went_through_gguf(name):
    again = gguf.read(b"".join(gguf.write(adapter(name), header(CASES[name].model))), header(CASES[name].model))
    found = peft_adapters.logits(peft_adapters.opened(CASES[name].model, peft.write(again)))
    assert np.abs(found - unpacked(recorded(name)["logits"], ROWS, -1)).max() <= 1e-4


@pytest.mark.parametrize("model", [CASES[name].model for name in NAMES] + ["phi2-fused"])
def test_llama_cpp_loads_our_gguf_with_the_logits_of_peft(model, tmp_path):
    api = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not here")
    from tools.oracles import llama_cpp_oracle

    name = {"phi2-fused": "phi2"}.get(model, model)
    (tmp_path / "base.gguf").write_bytes(base(model))
    (tmp_path / "adapter.gguf").write_bytes(b"".join(gguf.write(adapter(name), header(model))))
    loaded, context = llama_cpp_oracle.opened(tmp_path / "base.gguf", MODELS[model])
    try:
        plain = llama_cpp_oracle.logits(context, SHORT, 0, VOCABULARY)
        held = api.llama_adapter_lora_init(loaded, str(tmp_path / "adapter.gguf").encode())
        assert held, "llama.cpp refuses the adapter"
        handles = (api.llama_adapter_lora_p_ctypes * 1)(held)
        assert api.llama_set_adapters_lora(context, handles, 1, (ctypes.c_float * 1)(1.0)) == 0
        api.llama_memory_clear(api.llama_get_memory(context), True)
        found = llama_cpp_oracle.logits(context, SHORT, 0, VOCABULARY)
    finally:
        api.llama_free(context)
        api.llama_model_free(loaded)
    want = peft_adapters.logits(peft_adapters.opened(model, peft.write(adapter(name))), SHORT)[-1]
    assert np.abs(found - want).max() <= 1e-3 * np.abs(want).max() < 0.05 * np.abs(plain - want).max()
