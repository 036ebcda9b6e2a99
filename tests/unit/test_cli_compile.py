"""`compile`: the three files and the memory they ask for; what cannot be compiled is named. CPython."""

import json

import pytest

from edgenet.graph import Program
from tests.unit.cli_site import Cli
from tests.unit.small_model_runs import opened


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path / "home")


def model(folder, name="llama", kind="q8_0"):
    path = folder / f"{name}.gguf"
    path.write_bytes(opened(name, kind).data)
    return path


def test_three_files_appear_and_the_memory_is_told(cli, tmp_path):
    done = cli(
        "compile", str(model(tmp_path)), "--output", str(tmp_path / "out"), "--context", "64", "--kv", "q8", "--json"
    )
    data = done.data
    files = {name: json.loads((tmp_path / "out" / f"{name}.json").read_text("utf-8")) for name in data["files"]}
    program = Program.from_json(files["program"])
    assert (program.capacity.context, program.capacity.kv) == (64, "q8")
    assert data["memory"]["kv"] == program.regions["kv"] and data["memory"]["total"] > data["memory"]["weights"]
    assert files["generation"]["architecture"] == "llama" and len(files["tokenizer"]["model"]["vocab"]) == 300


def test_it_is_said_in_words_too(cli, tmp_path):
    done = cli("compile", str(model(tmp_path)), "--output", str(tmp_path / "out"))
    assert "context 128 tokens, K and V in f32" in done.out
    assert "kB of memory: weights 107.4 kB, kv 262.1 kB, arena" in done.out


FAILURES = {
    "a file that is not there": (lambda folder: folder / "none.gguf", (), 3, "model_not_found"),
    "a file that is no GGUF": (lambda folder: _text(folder), (), 8, "gguf_invalid"),
    "a context beyond the model's": (model, ("--context", "1024"), 8, "invalid_option"),
    "a way of keeping K and V that nobody knows": (model, ("--kv", "q3"), 8, "invalid_option"),
}


def _text(folder):
    (folder / "notes.gguf").write_text("hello, this is no model")
    return folder / "notes.gguf"


@pytest.mark.parametrize("title", FAILURES)
def test_what_cannot_be_compiled_is_named_and_nothing_is_written(cli, tmp_path, title):
    make, more, status, code = FAILURES[title]
    done = cli("compile", str(make(tmp_path)), "--output", str(tmp_path / "out"), "--json", *more)
    assert (done.code, done.data["error"]["code"]) == (status, code)
    assert not (tmp_path / "out").exists()
