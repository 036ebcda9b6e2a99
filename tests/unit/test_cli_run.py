"""`run` and `bench` of the CLI on a small GGUF file of random weights. CPython."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgenet.cli import language
from edgenet.host.files import sha256_of
from edgenet.lora import peft
from tests.adapters import random_adapter
from tests.unit.cli_site import Cli
from tests.unit.small_model_runs import opened


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path / "home")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "small.gguf"
    path.write_bytes(opened("qwen2", "q8_0").data)
    return str(path)


def test_the_text_is_printed_and_the_figures_are_told_beside_it(cli, model):
    done = cli("run", model, "hello", "--max-tokens", "6", "--seed", "3")
    same = cli("run", model, "hello", "--max-tokens", "6", "--seed", "3", "--json").data
    assert done.out == same["text"] + "\n"
    assert "6 tokens" in done.err and "ended by length; seed 3" in done.err


def test_json_holds_everything(cli, model):
    data = cli("run", model, "hello", "--max-tokens", "6", "--temperature", "0", "--json").data
    assert (data["reason"], data["usage"]["completion"]) == ("length", 6)
    assert data["usage"]["prompt"] > 0 and data["firstTokenSeconds"] > 0 and data["tokensPerSecond"] > 0


def test_bench_measures_both_phases(cli, model):
    data = cli("bench", model, "--prompt", "8", "--tokens", "4", "--repeat", "2", "--json").data
    assert len(data["prefill"]) == 2 and min(data["prefill"]) > 0
    assert "prefill" in cli("bench", model, "--prompt", "8", "--tokens", "4", "--repeat", "1").out


def test_a_wrong_option_is_said_before_the_model_is_loaded(cli):
    assert cli("run", "none.gguf", "hello", "--top-p", "2", "--json").data["error"]["code"] == "invalid_option"


@pytest.fixture
def adapter(tmp_path):
    """A folder of PEFT."""
    made = tmp_path / "letters"
    made.mkdir()
    for name, data in peft.write(random_adapter(opened("qwen2", "q8_0").header, "letters")).items():
        (made / name).write_bytes(data)
    return str(made)


def test_adapters_change_the_text_each_at_its_scale(cli, model, adapter):
    def text(*words):
        return cli("run", model, "hello", "--max-tokens", "12", "--temperature", "0", "--json", *words).data["text"]

    plain, with_one = text(), text("--adapter", adapter)
    assert plain != with_one == text("--adapter", f"{adapter}:1")
    assert text("--adapter", f"{adapter}:0") == plain
    twice = Path(adapter).with_name("again")
    shutil.copytree(adapter, twice)
    assert text("--adapter", f"{adapter}:0.5", "--adapter", f"{twice}:0.5") == with_one


def test_an_installation_without_the_engine_s_module_says_how_to_make_it(cli, model, monkeypatch):
    monkeypatch.setattr(language, "ENGINE", "none.wasm")
    error = cli("run", model, "hello", "--json").data["error"]
    assert error["code"] == "kernel_not_found" and "build.py" in error["message"]


def written(folder, adapter):
    folder.mkdir()
    for name, data in peft.write(adapter).items():
        (folder / name).write_bytes(data)
    return str(folder)


def test_an_adapter_of_another_file_of_the_model_is_told(cli, model, tmp_path):
    made = random_adapter(opened("qwen2", "q8_0").header, "letters")
    other = written(tmp_path / "other", replace(made, base_sha256="0" * 64))
    same = written(tmp_path / "same", replace(made, base_sha256=sha256_of(model)))
    asked = ("run", model, "hello", "--max-tokens", "1", "--adapter")
    done = cli(*asked, other, "--json")
    assert [notice["code"] for notice in done.data["notices"]] == ["adapter_other_file"]
    assert "notice: The adapter" in done.err and "another quantisation" in done.err
    assert cli(*asked, same, "--json").data["notices"] == []


FAILURES = {
    "an adapter that is not there": (("run", "MODEL", "hello", "--adapter", "none"), "adapter_not_found"),
    "an adapter that is none": (("run", "MODEL", "hello", "--adapter", "MODEL"), "adapter_invalid"),
    "a file that is not there": (("run", "none.gguf", "hello"), "model_not_found"),
    "an empty prompt": (("run", "MODEL", ""), "empty_text"),
    "a temperature below zero": (("run", "MODEL", "hello", "--temperature", "-1"), "invalid_option"),
    "a context beyond the model's": (("run", "MODEL", "hello", "--context", "4096"), "invalid_option"),
    "a cache of no kind": (("run", "MODEL", "hello", "--kv", "q5"), "invalid_option"),
    "an encoder": (("run", "ENCODER", "hello"), "not_supported"),
}


@pytest.mark.parametrize("title", FAILURES)
def test_failures_are_named(cli, model, tmp_path, title):
    words, code = FAILURES[title]
    encoder = tmp_path / "encoder.gguf"
    encoder.write_bytes(opened("bert", "q8_0").data)
    done = cli(*({"MODEL": model, "ENCODER": str(encoder)}.get(w, w) for w in words), "--json")
    assert done.data["error"]["code"] == code
