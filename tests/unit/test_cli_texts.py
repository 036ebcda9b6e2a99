"""`embed` and `search` of the CLI with a real, tiny ONNX model: results against NumPy, and texts of every bad kind. CPython only."""

import json
import os

import numpy as np
import pytest

from edgenet.host.files import Disk
from tests.unit import tiny_model
from tests.unit.cli_site import Cli

NOTES = {
    "house.md": "The boiler in the cellar is serviced every october.\n\nThe spare key hangs behind the garage door.\n",
    "sub/kitchen.txt": "The plum cake needs an hour in the oven.\n",
    "garden.txt": "Tomatoes water in the morning.\n",
}
QUERY = "when is the boiler in the cellar serviced"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site with the tiny model under the default model's id."""
    return tiny_model.site(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def cli(tmp_path, site):
    return Cli(tmp_path / "reader", site)


@pytest.fixture
def notes(tmp_path):
    for name, text in NOTES.items():
        path = tmp_path / "notes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "notes"


def error(ran):
    return ran.data["error"]["code"]


# --- search ----------------------------------------------------------------------------------------------------------
def test_search_gives_passages_with_scores_files_and_lines(cli, notes):
    ran = cli("search", str(notes), QUERY, "--json")
    best = ran.data["hits"][0]
    passage = NOTES["house.md"].strip()
    assert (best["file"], best["line"], best["text"]) == (str(notes / "house.md"), 1, passage)
    assert best["score"] == pytest.approx(float(tiny_model.expected(passage) @ tiny_model.expected(QUERY)), abs=1e-4)
    assert "house.md:1" in cli("search", str(notes), QUERY).out
    assert len(cli("search", str(notes), QUERY, "--top", "2", "--json").data["hits"]) == 2


def test_a_second_search_embeds_only_what_changed(cli, notes):
    assert cli("search", str(notes), QUERY, "--json").data["embedded"] == 3
    assert cli("search", str(notes), "another query", "--json").data["embedded"] == 0
    (notes / "garden.txt").write_text("The drain under the hedge floods after storms.")
    (notes / "sub" / "kitchen.txt").rename(notes / "renamed.txt")
    ran = cli("search", str(notes), "the drain floods", "--json")
    assert (ran.data["embedded"], ran.data["hits"][0]["text"]) == (1, "The drain under the hedge floods after storms.")
    assert cli("search", str(notes), QUERY, "--reindex", "--json").data["embedded"] == 3


def test_a_broken_index_is_made_anew(cli, notes):
    before = cli("search", str(notes), QUERY, "--json").data["hits"]
    for path in (cli.cache / "index").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    again = cli("search", str(notes), QUERY, "--json").data
    assert (again["embedded"], again["hits"]) == (3, before)


def test_a_cached_model_needs_no_site(cli, notes):
    cli("pull", "minilm-l6-v2-q8")
    cli.site = None
    assert cli("search", str(notes), QUERY).code == 0


def test_without_model_and_site_the_way_on_is_told(cli, notes):
    cli.site = None
    ran = cli("search", str(notes), QUERY, "--json")
    assert (ran.code, error(ran)) == (3, "not_cached") and "pull minilm-l6-v2-q8" in ran.err


def test_a_revoked_key_stops_a_cached_model(cli, notes):
    cli("pull", "minilm-l6-v2-q8")
    cli("keys", "revoke", cli("keys", "list", "--json").data["keys"][0]["keyId"])
    ran = cli("search", str(notes), QUERY, "--json")
    assert (ran.code, error(ran)) == (4, "key_revoked")


# --- bad input -------------------------------------------------------------------------------------------------------
def test_binary_files_are_skipped_and_said_and_broken_utf8_is_replaced_and_said(cli, notes):
    (notes / "photo.jpg").write_bytes(b"\xff\xd8\0\0")
    (notes / "latin.txt").write_bytes(b"The caf\xe9 needs an hour of rest in the morning")
    ran = cli("search", str(notes), QUERY, "--json")
    assert [row["code"] for row in ran.data["skipped"]] == ["not_text"]
    assert "photo.jpg is not a text" in ran.err and "latin.txt: 1 character not UTF-8" in ran.err


@pytest.mark.parametrize(
    ("reason", "make", "code"),
    [
        ("an empty folder", lambda p: p.mkdir(), "empty_text"),
        ("only binary files", lambda p: (p.mkdir(), (p / "a.bin").write_bytes(b"\0")), "empty_text"),
        ("only empty files", lambda p: (p.mkdir(), (p / "a.txt").write_bytes(b"\n")), "empty_text"),
        ("no folder", lambda p: None, "invalid_option"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_folders_without_text(cli, tmp_path, reason, make, code):
    make(tmp_path / "odd")
    for args in (["search", str(tmp_path / "odd"), QUERY], ["embed", str(tmp_path / "odd")]):
        ran = cli(*args, "--json")
        assert (ran.code, error(ran)) == (8, code)


def test_an_empty_query(cli, notes):
    assert error(cli("search", str(notes), "  ", "--json")) == "empty_text"


def test_a_folder_of_five_thousand_files(cli, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(5000):
        (folder / f"{n}.txt").write_text(f"note {n}. the bread wants a night of rest")
    (folder / "4999.txt").write_text("the treasure lies under the oak")
    ran = cli("search", str(folder), "treasure under the oak", "--top", "1", "--json")
    assert (ran.data["documents"], ran.data["hits"][0]["file"]) == (5000, str(folder / "4999.txt"))


def test_one_megabyte_in_one_file(cli, tmp_path):
    path = tmp_path / "big.txt"
    path.write_text(
        "The plum cake needs flour and an hour in the oven. " * 20_000 + "\n\nThe treasure lies under the oak."
    )
    best = cli("search", str(path), "treasure under the oak", "--top", "1", "--json").data["hits"][0]
    assert (best["line"], best["text"]) == (3, "The treasure lies under the oak.")


def test_links_to_folders_and_hidden_files_are_left_out(cli, notes):
    (notes / ".secret.txt").write_text("the treasure lies under the oak")
    os.symlink(notes, notes / "loop")
    assert cli("search", str(notes), QUERY, "--json").data["documents"] == 3


# --- embed -----------------------------------------------------------------------------------------------------------
def test_vectors_are_those_of_numpy(cli, tmp_path):
    lines = ["the spare key", "the bread wants rest", "one two"]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n\n")
    assert cli("embed", str(tmp_path / "lines.txt"), "--lines", "-o", str(tmp_path / "v.npz")).code == 0
    with np.load(tmp_path / "v.npz", allow_pickle=False) as file:
        assert (
            file["embeddings"].dtype == np.float32 and list(file["texts"]) == lines and list(file["lines"]) == [1, 2, 3]
        )
        np.testing.assert_allclose(file["embeddings"], [tiny_model.expected(line) for line in lines], atol=1e-6)


def test_json_lines_hold_the_same_f32(cli, notes, tmp_path):
    cli("embed", str(notes), "-o", str(tmp_path / "v.jsonl"))
    cli("embed", str(notes), "-o", str(tmp_path / "v.npz"))
    rows = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    with np.load(tmp_path / "v.npz") as file:
        assert np.array_equal(np.array([row["embedding"] for row in rows], np.float32), file["embeddings"])
        assert [row["file"] for row in rows] == list(file["files"])


def test_standard_input_to_standard_output(cli):
    ran = cli("embed", "-", stdin=b"the spare key")
    row = json.loads(ran.out)
    assert row["file"] == "stdin"
    np.testing.assert_allclose(row["embedding"], tiny_model.expected("the spare key"), atol=1e-6)
    assert cli("embed", "-", "--json", stdin=b"one").data["rows"][0]["text"] == "one"
    assert error(cli("embed", "-", "--json", stdin=b"")) == "empty_text"


def test_outputs_that_cannot_be_are_found_before_the_model_works(cli, notes, tmp_path):
    (tmp_path / "file").write_text("")
    assert error(cli("embed", str(notes), "-o", "vectors.csv", "--json")) == "invalid_option"
    assert error(cli("embed", str(notes), "-o", str(tmp_path / "file" / "v.npz"), "--json")) == "storage_unavailable"
    assert not cli.cache.exists()


class FullForVectors(Disk):
    """Has room for everything but the output file."""

    def write(self, path, data, mode=0o644):
        if str(path).endswith(".npz") and "index" not in str(path):
            self._put = lambda handle, data: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        super().write(path, data, mode)


def test_a_full_disk_leaves_the_old_vectors(cli, notes, tmp_path):
    path = tmp_path / "v.npz"
    path.write_bytes(b"old")
    cli.disk = FullForVectors()
    assert error(cli("embed", str(notes), "-o", str(path), "--json")) == "quota_exceeded"
    assert path.read_bytes() == b"old"


def test_a_model_that_cannot_be_run_is_said(tmp_path, cli):
    publisher = Cli(tmp_path / "publisher")
    publisher("keys", "generate")
    files = tiny_model.write(tmp_path / "files")
    (files / "model.onnx").write_bytes(b"no onnx")
    publisher("publish", str(files), "--name", "broken", "--version", "1", "--output", str(tmp_path / "site"))
    ran = cli("embed", "-", "--model", "broken", "--json", site=str(tmp_path / "site"), stdin=b"text")
    assert (ran.code, error(ran)) == (7, "model_invalid")
