"""`info` of a GGUF file: the figures of its header, as text and as JSON, from this machine or by range from a hub."""

import pytest

from tests import make_gguf_info
from tests.gguf_bytes import padded
from tests.unit.cli_site import Cli, Server


def write(path, why="heads that differ by layer, a short context"):
    """A file of the vectors' models, whole."""
    raw, size = make_gguf_info.file(*next(row[1:] for row in make_gguf_info.rows() if row[0] == why))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(padded(raw, 0).ljust(size, b"\0"))
    return str(path)


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path / "home")


def test_the_figures_of_a_file_as_data(cli, tmp_path):
    told = cli("info", write(tmp_path / "m.gguf"), "--json").data
    assert (told["architecture"], told["parameters"], told["quantization"], told["context"]) == (
        "gemma3n",
        16408,
        "F16",
        100,
    )
    assert told["memory"]["context"] == 96 and told["supported"] is False and "tensorList" not in told


def test_tensors_are_told_when_asked_for(cli, tmp_path):
    rows = cli("info", write(tmp_path / "m.gguf"), "--tensors", "--json").data["tensorList"]
    assert [(row["name"], row["type"], row["shape"]) for row in rows] == [
        ("w", "f16", [32, 256]),
        ("v", "iq4_nl", [32, 256]),
        ("u", "f32", [2, 3, 4]),
    ]
    assert "2 x 3 x 4" in cli("info", str(tmp_path / "m.gguf"), "--tensors").out


def test_the_figures_of_a_file_as_text(cli, tmp_path):
    text = cli("info", write(tmp_path / "m.gguf", "a file that says nothing of itself")).out
    assert "8 weights, F32" in text and "family      unknown" in text and "memory" not in text
    text = cli("info", write(tmp_path / "n.gguf")).out
    assert (
        "EdgeNet does not build this architecture" in text and "4 heads, 4 of K and V" in text and "no template" in text
    )


def test_memory_is_told_for_the_context_asked_for(cli, tmp_path):
    path = write(tmp_path / "m.gguf")
    kv = {
        kind: cli("info", path, "--context", "32", "--kv", kind, "--json").data["memory"]["kv"]
        for kind in ("f32", "q8", "q4")
    }
    assert kv["f32"] == 2 * 3 * 4 * 32 * 4 * 48 * 4  # K and V, layers, sequences, tokens, heads, head, bytes
    assert kv["f32"] > 3.5 * kv["q8"] > 1.7 * 3.5 * kv["q4"]


def test_a_file_on_a_hub_is_told_without_fetching_it(cli, tmp_path):
    path = write(tmp_path / "hub/Maker/Small/resolve/main/m.gguf")
    with Server(tmp_path / "hub") as server:
        cli("config", "set", "hub.endpoint", server.url)
        assert cli("info", "hf:Maker/Small/m.gguf", "--json").data == cli("info", path, "--json").data
        assert cli("info", "hf:Maker/Small", "--json").data["error"]["code"] == "invalid_option"
    assert not (cli.cache / "incoming").exists()


BAD = [
    (["nowhere.gguf"], "model_not_found", 3, "no such file"),
    (["m-00001-of-00002.gguf"], "model_not_found", 3, "a part alone"),
    (["text.gguf"], "gguf_invalid", 8, "a text"),
    (["m.gguf", "--kv", "q2"], "invalid_option", 8, "a cache of no type"),
]


@pytest.mark.parametrize(("words", "code", "status", "why"), BAD, ids=[row[-1] for row in BAD])
def test_what_cannot_be_told_is_a_named_error(cli, tmp_path, words, code, status, why):
    write(tmp_path / "m.gguf")
    write(tmp_path / "m-00001-of-00002.gguf")
    (tmp_path / "text.gguf").write_text("GGUF is not written here")
    ran = cli("info", str(tmp_path / words[0]), *words[1:], "--json")
    assert (ran.data["error"]["code"], ran.code) == (code, status)
