"""The CLI on models: publish, list, info, pull, verify, cache; against a server that flips, cuts and ignores. CPython only."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgenet.host.files import Disk
from edgenet.sources import download
from tests.unit.cli_site import MIB, MODEL_SIZE, Cli, Server, model_bytes, publish

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(download, "FIRST_WAIT_S", 0)


@pytest.fixture
def site(tmp_path):
    """A site folder with the model `tiny` 1.0.0, made by a publisher of its own."""
    folder = tmp_path / "site"
    publish(Cli(tmp_path / "publisher"), folder)
    return folder


@pytest.fixture
def server(site):
    with Server(site) as running:
        yield running


@pytest.fixture
def cli(tmp_path, server):
    return Cli(tmp_path / "reader", server.url)


def cached_bytes(cli):
    """The model's bytes in the cache."""
    path = cli("pull", "tiny", "--json").data["files"]["model.onnx"]
    return Path(path).read_bytes()


# --- the way it should go --------------------------------------------------------------------------------------------
def test_pull_fetches_and_verifies_every_byte(cli):
    ran = cli("pull", "tiny", "--json")
    assert (ran.code, ran.data["state"], ran.data["fetched"]) == (0, "signed", ran.data["size"])
    assert Path(ran.data["files"]["model.onnx"]).read_bytes() == model_bytes()


def test_second_pull_fetches_no_file_again(cli, server):
    cli("pull", "tiny")
    server.faults.requests.clear()
    assert cli("pull", "tiny", "--json").data["fetched"] == 0
    assert not [path for path, _ in server.faults.requests if path.endswith(".onnx")]


def test_pull_goes_in_ranges(cli, server):
    cli("pull", "tiny")
    ranges = [wanted for path, wanted in server.faults.requests if path.endswith("model.onnx")]
    assert ranges and all(ranges)


def test_a_folder_is_a_site_too(tmp_path, site):
    ran = Cli(tmp_path / "reader", str(site))("pull", "tiny", "--source", "folder", "--json")
    assert (ran.code, ran.data["fetched"]) == (0, ran.data["size"])


def test_list_and_info_say_what_the_site_has(cli):
    row = cli("list", "--json").data["models"][0]
    assert (row["id"], row["version"], row["type"], row["quantization"], row["cached"]) == (
        "tiny",
        "1.0.0",
        "embedding",
        "INT8",
        "no",
    )
    assert cli("list", "--type", "vision", "--json").data == {"models": []}
    assert cli("list", "--quantization", "int8", "--json").data["models"] == [row]
    assert cli("info", "tiny", "--json").data["manifest"]["artifacts"]["model"]["size"] == MODEL_SIZE
    assert cli("info", "tiny", "--requirements", "--json").data == {"requirements": {"minStorage": row["size"]}}
    assert "benchmarks: the manifest states none" in cli("info", "tiny", "--benchmarks").out


def test_list_and_info_work_offline_once_pulled(cli, tmp_path):
    cli("pull", "tiny")
    cli.site = None
    assert cli("list", "--cached", "--json").data["models"][0]["cached"] == "yes"
    assert "complete in the cache" in cli("info", "tiny").out


def test_newest_version_by_number_not_by_letters(cli, tmp_path, site):
    for version in ("1.10.0", "1.9.0"):
        publish(Cli(tmp_path / "publisher"), site, "tiny", version, seed=2)
    assert cli("pull", "tiny", "--json").data["version"] == "1.10.0"
    assert cli("pull", "tiny", "--version", "1.0.0", "--json").data["version"] == "1.0.0"


def test_without_auto_update_pull_stays_with_the_cached_version(cli, tmp_path, site):
    cli("pull", "tiny")
    publish(Cli(tmp_path / "publisher"), site, "tiny", "2.0.0", seed=2)
    cli("config", "set", "preferences.autoUpdate", "no")
    assert cli("pull", "tiny", "--json").data["version"] == "1.0.0"


def test_output_gets_files_and_manifest(cli, tmp_path):
    ran = cli("pull", "tiny", "--output", str(tmp_path / "out"), "--json")
    folder = tmp_path / "out" / "tiny" / "1.0.0"
    assert ran.data["output"] == str(folder)
    assert {p.name for p in folder.iterdir()} == {"model.onnx", "tokenizer.json", "manifest.json"}
    assert cli("verify", str(folder), "--check-signature", "--json").data["ok"]


# --- faults of servers -----------------------------------------------------------------------------------------------
def gateway_for(site):
    manifest = json.loads((site / "models/tiny/1.0.0/manifest.json").read_text())
    return {a["cid"]: site / "models/tiny/1.0.0" / a["filename"] for a in manifest["artifacts"].values()}


def test_a_flipped_byte_is_taken_from_the_next_source(cli, server, site):
    server.faults.flip["model.onnx"] = 2 * MIB + 5
    with Server(site, gateway_for(site)) as gateway:
        cli("config", "set", "ipfs.gateways", gateway.url + "ipfs/")
        ran = cli("pull", "tiny", "--json")
        asked = [wanted for path, wanted in gateway.faults.requests if "/ipfs/" in path]
    assert ran.code == 0 and "chunk 2 of model.onnx" in ran.err
    assert asked == [f"bytes={2 * MIB}-{3 * MIB - 1}"]  # only the wrong chunk
    assert cached_bytes(cli) == model_bytes()


def test_a_flipped_byte_without_another_source_is_a_clear_error(cli, server):
    server.faults.flip["model.onnx"] = 7
    ran = cli("pull", "tiny", "--json")
    assert (ran.code, ran.data["error"]["code"]) == (5, "all_sources_failed")
    assert ran.data["error"]["details"]["attempts"][0]["code"] == "hash_mismatch"
    assert cli("list", "--cached", "--json").data["models"][0]["cached"] == "in part"


def test_when_every_source_fails_nothing_is_left(cli, server):
    server.faults.status["model.onnx"] = [404] * 20
    assert cli("pull", "tiny").code == 5
    assert cli("cache", "info", "--json").data["models"] == []
    assert cli("cache", "info", "--json").data["bytes"] == 0


def test_a_cut_connection_goes_on_where_it_ended(cli, server):
    server.faults.cut["model.onnx"] = [MIB + 100, 50, 10]
    ran = cli("pull", "tiny", "--json")
    assert (ran.code, ran.data["fetched"]) == (0, ran.data["size"])
    assert cached_bytes(cli) == model_bytes()


def test_a_server_that_ignores_ranges_is_read_once(cli, server):
    server.faults.no_range = True
    ran = cli("pull", "tiny", "--json")
    assert ran.code == 0 and "ignores byte ranges" in ran.err
    assert cached_bytes(cli) == model_bytes()


@pytest.mark.parametrize(
    ("statuses", "code"),
    [([503, 503], 0), ([429], 0), ([500] * 9, 5), ([403], 5)],
    ids=["busy for a while", "asked too often", "broken for good", "forbidden is not asked again"],
)
def test_error_statuses(cli, server, statuses, code):
    server.faults.status["model.onnx"] = statuses
    assert cli("pull", "tiny", "--parallel", "1").code == code


def test_a_server_that_never_answers_is_a_timeout(cli, server):
    cli("config", "set", "cdn.timeout", "50")
    server.faults.silent = threading.Event()
    ran = cli("list", "--json")
    assert (ran.code, ran.data["error"]["code"]) == (5, "request_timeout")


def test_no_server_is_a_network_error(cli):
    ran = cli("list", "--json", site="http://127.0.0.1:9/")
    assert (ran.code, ran.data["error"]["code"]) == (5, "network")


def test_a_source_asked_for_by_name_that_is_not_there_is_an_error(cli):
    ran = cli("pull", "tiny", "--source", "ipfs", "--json")
    assert (ran.code, ran.data["error"]["code"]) == (5, "source_unsupported")
    assert cli("pull", "tiny", "--source", "moon", "--json").data["error"]["code"] == "invalid_option"


def test_ipfs_alone_can_bring_a_model(cli, server, site):
    with Server(site, gateway_for(site)) as gateway:
        cli("config", "set", "ipfs.gateways", gateway.url + "ipfs/")
        assert cli("pull", "tiny", "--source", "ipfs").code == 0
    assert not [path for path, _ in server.faults.requests if path.endswith(".onnx")]


def test_unknown_models_and_versions_name_what_there_is(cli):
    ran = cli("pull", "tinny", "--json")
    assert (ran.code, ran.data["error"]["code"], ran.data["error"]["details"]["found"]) == (
        3,
        "model_not_found",
        ["tiny"],
    )
    assert cli("pull", "tiny", "--version", "9", "--json").data["error"]["details"]["found"] == ["1.0.0"]


# --- interruptions ---------------------------------------------------------------------------------------------------
def process(cli, *args):
    return subprocess.Popen(
        [sys.executable, "-m", "edgenet.cli", "--config", str(cli.config), "--site", cli.site, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "pysrc")},
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a job in the background of a script ignores Ctrl-C
    )


@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)], ids=["Ctrl-C", "killed"]
)
def test_a_stopped_pull_goes_on_where_it_was(cli, server, sign, code):
    first, go_on = threading.Event(), threading.Event()
    handler = server._server.RequestHandlerClass
    plain = handler._body

    def body(self, data, wanted):
        if (
            wanted
            and int(wanted.removeprefix("bytes=").split("-")[0]) == 0
            and not first.is_set()
            and self.path.endswith("model.onnx")
        ):
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 0-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: 3 * MIB + 17])
            first.set()
            go_on.wait(300)
            return self._hang_up()
        plain(self, data, wanted)

    handler._body = body
    running = process(cli, "pull", "tiny")
    assert first.wait(90)
    records = cli.cache / "files"
    while sum(json.loads(p.read_text() or "{}").get("have", "").count("7") for p in records.glob("*.json")) < 1:
        assert running.poll() is None
    running.send_signal(sign)
    running.communicate(timeout=90)
    go_on.set()
    assert running.returncode == code
    ran = cli("pull", "tiny", "--json")
    assert ran.data["reused"] >= 3 * MIB
    assert cached_bytes(cli) == model_bytes()


def test_two_processes_share_one_download(cli, server):
    both = [process(cli, "pull", "tiny", "--json") for _ in range(2)]
    outs = [json.loads(one.communicate(timeout=60)[0]) for one in both]
    assert sum(out["fetched"] for out in outs) == outs[0]["size"]
    assert all(out["size"] == outs[0]["size"] for out in outs)


# --- storage ---------------------------------------------------------------------------------------------------------
class FullDisk(Disk):
    """A disk on which the n-th write and all after it fail as a full one does."""

    def __init__(self, writes):
        self.left = writes

    def _put(self, handle, data):
        self.left -= 1
        if self.left < 0:
            raise OSError(28, "No space left on device")
        super()._put(handle, data)


@pytest.mark.parametrize("writes", [0, 1, 3, 6, 9])
def test_a_full_disk_is_said_and_what_fitted_stays(cli, writes):
    cli.disk = FullDisk(writes)
    ran = cli("pull", "tiny", "--json")
    assert (ran.code, ran.data["error"]["code"]) == (6, "quota_exceeded")
    assert not list(cli.home.rglob("*.part"))
    cli.disk = None
    assert cli("pull", "tiny", "--json").code == 0
    assert cached_bytes(cli) == model_bytes()


def test_too_little_room_is_found_before_a_byte_is_fetched(cli, server, monkeypatch):
    monkeypatch.setattr(Disk, "free", lambda self, path: 1000)
    ran = cli("pull", "tiny", "--json")
    assert (ran.data["error"]["code"], ran.data["error"]["details"]["free"]) == ("quota_exceeded", 1000)
    assert not [path for path, _ in server.faults.requests if path.endswith(".onnx")]


def test_an_output_that_cannot_be_written_is_found_before_a_byte_is_fetched(cli, server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    ran = cli("pull", "tiny", "--output", str(tmp_path / "file" / "below"), "--json")
    assert (ran.code, ran.data["error"]["code"]) == (6, "storage_unavailable")
    assert not server.faults.requests


def damage(cli, offset):
    """Flip one byte of the cached model behind the store's back."""
    path = Path(cli("pull", "tiny", "--json").data["files"]["model.onnx"])
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def test_verify_finds_what_was_damaged_and_repair_fetches_only_that(cli, server):
    damage(cli, 3 * MIB)
    ran = cli("verify", "tiny", "--json")
    assert (ran.code, ran.data["ok"], ran.data["error"]["code"]) == (4, False, "hash_mismatch")
    assert [row["wrong"] for row in ran.data["files"] if row["artifact"] == "model"] == [[3]]
    server.faults.requests.clear()
    fixed = cli("verify", "tiny", "--repair", "--json")
    assert (fixed.code, fixed.data["ok"], fixed.data["repaired"]) == (0, True, 1)
    assert [wanted for path, wanted in server.faults.requests if path.endswith(".onnx")] == [
        f"bytes={3 * MIB}-{4 * MIB - 1}"
    ]
    assert cached_bytes(cli) == model_bytes()


def test_verify_of_a_truncated_or_missing_file(cli):
    path = Path(cli("pull", "tiny", "--json").data["files"]["model.onnx"])
    path.write_bytes(path.read_bytes()[:MIB])
    assert cli("verify", "tiny").code == 4
    assert cli("verify", "tiny", "--repair").code == 0
    path.unlink()
    assert cli("verify", "tiny").code == 4
    assert cli("verify", "tiny", "--repair").code == 0
    assert path.read_bytes() == model_bytes()


def test_verify_of_a_damaged_output_folder(cli, tmp_path):
    cli("pull", "tiny", "--output", str(tmp_path / "out"))
    path = tmp_path / "out/tiny/1.0.0/model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    ran = cli("verify", str(path.parent), "--json")
    assert (ran.code, ran.data["files"][0]["wrong"]) == (4, [5])


def test_cache_clear_prune_and_limits(cli, tmp_path, site):
    publish(Cli(tmp_path / "publisher"), site, "other", "1.0.0", seed=5)
    cli("pull", "tiny")
    cli("pull", "other")
    assert len(cli("cache", "info", "--json").data["models"]) == 2
    assert cli("cache", "clear", "--older-than", "30d", "--json").data["removed"] == []
    assert cli("cache", "clear", "tiny", "--json").data == {"removed": ["tiny@1.0.0"], "freed": MODEL_SIZE}
    cli("config", "set", "cache.maxSize", "1MB")
    assert cli("pull", "tiny", "--json").data["evicted"] == ["other@1.0.0"]
    assert cli("cache", "prune", "--json").data["removed"] == ["tiny@1.0.0"]
    assert cli("cache", "info", "--json").data["bytes"] == 0
    assert cli("cache", "clear", "--older-than", "soon", "--json").data["error"]["code"] == "invalid_option"


def test_prune_removes_half_fetched_models(cli, server):
    server.faults.flip["model.onnx"] = 7
    cli("pull", "tiny")
    server.faults.flip.clear()
    assert cli("cache", "prune", "--json").data["removed"] == ["tiny@1.0.0"]
    assert cli("cache", "info", "--json").data["bytes"] == 0
