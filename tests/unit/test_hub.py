"""Models off a hub: listed, looked at by range, fetched without loss, checked, cached as unsigned. Against a local mirror."""

import asyncio
import json
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from edgenet.errors import InvalidOption, ModelTooLarge, NetworkError
from edgenet.host.answer import Answer
from edgenet.registry import hub as registry_hub
from edgenet.registry.hub_manifest import model_id
from edgenet.sources.hub import Place, parse
from tests import make_gguf_info
from tests.gguf_bytes import header, padded, pair, tensor
from tests.unit.cli_site import MIB, Cli, Server, model_bytes

ADDRESS = "hf:Maker/Small-GGUF/small-q8_0.gguf"
FOLDER = "Maker/Small-GGUF/resolve/main"
ID = "maker.small-q8_0"


def gguf(pairs=(), name="w", weights=3 * MIB, architecture="llama"):
    """A file whose weights are no two chunks alike."""
    metadata = [
        pair(*row) for row in make_gguf_info.sizes(architecture, context_length=64, block_count=1, embedding_length=64)
    ]
    metadata += [pair(f"{architecture}.attention.head_count", "u32", 2), *pairs]
    head = padded(header(metadata, [tensor(name, [weights // 4], 0, 0)]), 0)
    return head + model_bytes(size=weights)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(registry_hub, "FIRST_WAIT_S", 0)
    monkeypatch.setattr(registry_hub, "PIECE", MIB // 2)


@pytest.fixture
def root(tmp_path):
    """The mirror's folder with one model."""
    folder = tmp_path / "mirror"
    put(folder, "small-q8_0.gguf", gguf())
    return folder


@pytest.fixture
def server(root):
    with Server(root) as running:
        yield running


@pytest.fixture
def cli(tmp_path, server):
    made = Cli(tmp_path / "reader")
    assert made("config", "set", "hub.endpoint", server.url).code == 0
    return made


def put(folder, name, data):
    path = folder / FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def listing(folder, rows):
    path = (
        folder / "api/models/Maker/Small-GGUF/tree/main?recursive=true"
    )  # the query is part of the served file's name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))


def fetched(server):
    """The ranges of the model's file that were asked for."""
    return [wanted for path, wanted in server.faults.requests if path.endswith("small-q8_0.gguf")]


# --- the way it should go --------------------------------------------------------------------------------------------
def test_a_model_is_pulled_listed_told_and_verified(cli, server):
    ran = cli("pull", ADDRESS, "--json")
    assert (ran.code, ran.data["id"], ran.data["version"], ran.data["state"]) == (0, ID, "main", "unsigned"), ran.err
    assert Path(ran.data["files"]["small-q8_0.gguf"]).read_bytes() == gguf()
    assert cli("list", "--cached", "--json").data["models"][0]["quantization"] == "F32"
    assert cli("verify", ID).code == 0
    told = cli("info", ID, "--json").data
    assert told["gguf"]["parameters"] == 3 * MIB // 4 and told["manifest"]["hub"]["address"] == ADDRESS
    assert "GGUF version 3" in cli("info", ID).out
    assert list((cli.cache / "incoming").iterdir()) == []


def test_a_second_pull_fetches_nothing_while_the_hub_says_the_same(cli, server):
    server.faults.headers[".gguf"] = {"ETag": '"one"'}
    cli("pull", ADDRESS)
    assert cli("pull", ADDRESS, "--json").data["fetched"] == 0
    server.faults.headers[".gguf"] = {"ETag": '"two"'}
    assert cli("pull", ADDRESS, "--json").data["fetched"] == len(gguf())


def test_the_sha256_of_a_redirect_is_checked(cli, server, root):
    put(root, "real.bin", gguf())
    server.faults.redirect["small-q8_0.gguf"] = f"/{FOLDER}/real.bin"
    server.faults.headers["small-q8_0.gguf"] = {
        "X-Linked-ETag": f'"{sha256(gguf()).hexdigest()}"',
        "X-Linked-Size": "1",
    }
    assert cli("pull", ADDRESS).code == 0
    assert cli("pull", ADDRESS, "--json").data["fetched"] == 0


def test_a_repository_lists_its_gguf_files(cli, root):
    rows = [{"type": "file", "path": "b.gguf", "size": 7}, {"type": "file", "path": "a/A.gguf", "size": 5}]
    listing(root, [*rows, {"type": "file", "path": "README.md", "size": 1}, {"type": "directory", "path": "a.gguf"}])
    ran = cli("pull", "hf:Maker/Small-GGUF", "--json")
    assert ran.data["files"] == [{"file": "a/A.gguf", "size": 5}, {"file": "b.gguf", "size": 7}]
    assert "hf:Maker/Small-GGUF/b.gguf" in cli("pull", "hf:Maker/Small-GGUF").out


def test_a_split_model_is_one_model(cli, root, server):
    for i in range(3):
        pairs = [pair("split.no", "u16", i), pair("split.count", "u16", 3), pair("split.tensors.count", "i32", 3)]
        put(root, f"m-0000{i + 1}-of-00003.gguf", gguf(pairs, name=f"w{i}", weights=MIB))
    ran = cli("pull", "hf:Maker/Small-GGUF/m-00002-of-00003.gguf", "--json")
    assert ran.code == 0 and len(ran.data["files"]) == 3 and ran.data["id"] == "maker.small.m"
    assert cli("info", ran.data["id"], "--json").data["gguf"]["parameters"] == 3 * MIB // 4
    assert cli("verify", ran.data["id"]).code == 0


def test_another_hub_can_be_named_for_once(tmp_path, server):
    ran = Cli(tmp_path / "other")("pull", ADDRESS, "--hub", server.url)
    assert ran.code == 0, ran.err


def test_a_pulled_model_can_be_copied_out_and_verified_there(cli, tmp_path):
    ran = cli("pull", ADDRESS, "--output", str(tmp_path / "out"), "--json")
    assert cli("verify", ran.data["output"]).code == 0


# --- what goes wrong on the way --------------------------------------------------------------------------------------
def test_a_broken_download_goes_on_where_it_stopped(cli, server):
    size = len(gguf())
    server.faults.cut["small-q8_0.gguf"] = [10**9] * 2 + [MIB, MIB]  # the look at the header, then two broken answers
    ran = cli("pull", ADDRESS, "--json")
    assert ran.code == 0, ran.err
    assert fetched(server)[2:] == [f"bytes={start}-{size - 1}" for start in (0, MIB, 2 * MIB)]


def test_what_came_before_the_pull_gave_up_is_used_by_the_next(cli, server):
    cli("config", "set", "cdn.retries", "0")
    server.faults.cut["small-q8_0.gguf"] = [10**9] * 2 + [2 * MIB]
    assert cli("pull", ADDRESS).code == 5
    assert cli("list", "--cached", "--json").data["models"] == []
    assert cli("pull", ADDRESS, "--json").data["fetched"] == len(gguf()) - 2 * MIB


def test_other_bytes_on_the_hub_begin_anew(cli, server, root):
    cli("config", "set", "cdn.retries", "0")
    server.faults.headers[".gguf"] = {"ETag": '"one"'}
    server.faults.cut["small-q8_0.gguf"] = [10**9] * 2 + [2 * MIB]
    cli("pull", ADDRESS)
    fresh = gguf([pair("general.name", "string", "New")])
    put(root, "small-q8_0.gguf", fresh)
    server.faults.headers[".gguf"] = {"ETag": '"two"'}
    ran = cli("pull", ADDRESS, "--json")
    assert ran.data["fetched"] == len(fresh) and Path(ran.data["files"]["small-q8_0.gguf"]).read_bytes() == fresh


def test_wrong_bytes_are_thrown_away(cli, server):
    server.faults.headers[".gguf"] = {"X-Linked-ETag": f'"{sha256(gguf()).hexdigest()}"'}
    server.faults.flip["small-q8_0.gguf"] = 2 * MIB
    ran = cli("pull", ADDRESS, "--json")
    assert (ran.code, ran.data["error"]["code"]) == (4, "hash_mismatch")
    assert list((cli.cache / "incoming").iterdir()) == []
    server.faults.flip.clear()
    assert cli("pull", ADDRESS).code == 0


def test_a_hub_without_ranges_is_read_from_the_start(cli, server):
    server.faults.no_range = True
    server.faults.cut["small-q8_0.gguf"] = [10**9] * 2 + [MIB]
    ran = cli("pull", ADDRESS, "--json")
    assert ran.code == 0 and "no ranges" in ran.err
    assert Path(ran.data["files"]["small-q8_0.gguf"]).read_bytes() == gguf()


def test_a_long_header_cannot_be_looked_at_without_ranges(cli, server, root):
    put(root, "small-q8_0.gguf", gguf([pair("t", "[string]", [f"a long token number {i}" for i in range(60_000)])]))
    server.faults.no_range = True
    assert cli("pull", ADDRESS, "--json").data["error"]["code"] == "range_unsupported"


def test_a_chunk_that_went_bad_is_fetched_again_from_the_hub(cli, server):
    path = Path(cli("pull", ADDRESS, "--json").data["files"]["small-q8_0.gguf"])
    data = bytearray(path.read_bytes())
    data[MIB + 7] ^= 1
    path.write_bytes(data)
    assert cli("verify", ID).code == 4
    server.faults.requests.clear()
    assert cli("verify", ID, "--repair").code == 0
    assert fetched(server) == [f"bytes={MIB}-{2 * MIB - 1}"] and path.read_bytes() == gguf()


def test_a_model_too_large_is_told_with_numbers_before_it_is_fetched():
    raw, size = make_gguf_info.file(*next(row[1:] for row in make_gguf_info.rows() if "cannot fit" in row[0]))
    opened = Played(raw, size)
    puller = registry_hub.HubPuller(NoStore(), registry_hub.Hub("http://hub.example", opened))
    with pytest.raises(ModelTooLarge) as caught:
        asyncio.run(puller.pull(parse(ADDRESS)))
    assert caught.value.details["needed"] > caught.value.details["limit"]
    assert f"{caught.value.details['needed']:,}" in caught.value.message and opened.asked < 4 * MIB


class NoStore:
    """A cache with nothing in it, of which nothing else may be asked."""

    def models(self):
        return []


class Played:
    """An opener that plays one file of `size` bytes: the ones given, then zeros."""

    def __init__(self, data, size):
        self.data, self.size, self.asked = data, size, 0

    def open(self, url, span):
        @asynccontextmanager
        async def answer():
            self.asked += span[1] - span[0]

            async def blocks():
                yield self.data[slice(*span)].ljust(span[1] - span[0], b"\0")

            yield Answer(url, span, self.size, blocks())

        return answer()


REFUSED = [
    (404, {}, "model_not_found", 3, "a file that is not there"),
    (401, {}, "access_refused", 5, "a name that is wrong or not public"),
    (403, {"X-Error-Code": "GatedRepo"}, "access_refused", 5, "a licence to accept"),
    (401, {"X-Error-Code": "RepoNotFound"}, "model_not_found", 3, "a repository that is not there"),
    (418, {}, "http_status", 5, "anything else"),
]


@pytest.mark.parametrize(("status", "headers", "code", "exit_status", "why"), REFUSED, ids=[row[-1] for row in REFUSED])
def test_a_refusal_is_named(cli, server, status, headers, code, exit_status, why):
    server.faults.status[".gguf"], server.faults.headers[".gguf"] = [status], headers
    ran = cli("pull", ADDRESS, "--json")
    assert (ran.data["error"]["code"], ran.code) == (code, exit_status)
    assert not (cli.cache / "incoming").exists()


def test_a_listing_that_is_none_is_named(cli, root):
    assert cli("pull", "hf:Maker/Small-GGUF", "--json").data["error"]["code"] == "model_not_found"
    listing(root, {"a": 1})
    assert cli("pull", "hf:Maker/Small-GGUF", "--json").data["error"]["code"] == "network"


def test_what_is_no_gguf_is_refused_before_the_download(cli, server, root):
    put(root, "small-q8_0.gguf", b"<html>" + bytes(3 * MIB))
    assert cli("pull", ADDRESS, "--json").data["error"]["code"] == "gguf_invalid"
    assert not (cli.cache / "incoming").exists()


def test_what_broken_downloads_left_can_be_removed(cli, server):
    cli("config", "set", "cdn.retries", "0")
    server.faults.cut["small-q8_0.gguf"] = [10**9] * 2 + [2 * MIB]
    cli("pull", ADDRESS)
    assert cli("cache", "prune", "--json").data["freed"] == 2 * MIB
    assert list((cli.cache / "incoming").iterdir()) == []


def test_options_that_mean_nothing_are_refused(cli):
    assert cli("pull", ADDRESS, "--version", "1", "--json").data["error"]["code"] == "invalid_option"
    assert cli("pull", "tiny", "--hub", "http://x", "--json").data["error"]["code"] == "invalid_option"
    assert cli("pull", ADDRESS, "--hub", "file:///tmp", "--json").data["error"]["code"] == "invalid_option"


@pytest.mark.parametrize("told", ["", "-1", "²", "1.5", "9" * 5000])
def test_a_size_that_is_none_is_named(told):
    class Sizeless(Played):
        def open(self, url, span):
            @asynccontextmanager
            async def answer():
                yield Answer(url, span, None, None, {"x-linked-size": told})

            return answer()

    with pytest.raises(NetworkError, match="how large"):
        asyncio.run(registry_hub.Hub("http://hub.example", Sizeless(b"", 0)).look(parse(ADDRESS)))


# --- names -----------------------------------------------------------------------------------------------------------
PLACES = [
    ("hf:a/b", Place("a", "b"), "a repository"),
    ("hf:a/b/c.gguf", Place("a", "b", "main", "c.gguf"), "a file"),
    ("hf:a/b@v1.0/d/c.GGUF", Place("a", "b", "v1.0", "d/c.GGUF"), "a revision and a folder"),
]


@pytest.mark.parametrize(("text", "place", "why"), PLACES, ids=[row[-1] for row in PLACES])
def test_an_address_is_read_and_written(text, place, why):
    assert parse(text) == place and place.text == text


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:a",
        "hf:a/b/",
        "hf:a/b/c.bin",
        "hf:a/../c.gguf",
        "hf:a/b/../c.gguf",
        "hf:a/b//c.gguf",
        "hf:a b/c",
        "hf:a/b/c?d.gguf",
    ],
)
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(InvalidOption):
        parse(text)


IDS = [
    (
        "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_0.gguf",
        "qwen.qwen2.5-0.5b-instruct-q4_0",
        "the file repeats the repository",
    ),
    ("hf:a/Llama-GGUF/ggml-model-f16.gguf", "a.llama.ggml-model-f16", "a file named like every other"),
    ("hf:a/b/sub/B-00002-of-00003.gguf", "a.b", "a part stands for the whole"),
    ("hf:a/b/" + "x" * 150 + "__q4.gguf", "x" * 97 + "-q4", "a long name keeps its end"),
]


@pytest.mark.parametrize(("text", "wanted", "why"), IDS, ids=[row[-1] for row in IDS])
def test_the_id_of_a_model_says_where_it_is_from(text, wanted, why):
    assert model_id(parse(text)) == wanted
