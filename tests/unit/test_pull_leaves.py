"""A model so large that its chunk hashes are a file of their own: pulled, verified, repaired, copied out, removed. CPython only."""

import json

import pytest

from edgenet.integrity import describe
from edgenet.registry.publish import index_row
from tests.unit.cli_site import Cli, Server, model_bytes

CHUNK = 1024
DATA = model_bytes(3, 1100 * CHUNK + 7)


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site" / "models" / "big" / "1"
    folder.mkdir(parents=True)
    artifact, leaves = describe(iter([DATA]), "model.onnx", CHUNK)
    manifest = {"schemaVersion": 1, "id": "big", "name": "big", "version": "1", "type": "embedding", "sources": []}
    manifest["artifacts"] = {"model": artifact}
    (folder / "model.onnx").write_bytes(DATA)
    (folder / "model.onnx.leaves").write_bytes(leaves)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder.parents[1] / "index.json").write_text(json.dumps({"models": [index_row(manifest)]}))
    with Server(tmp_path / "site") as server:
        yield server


@pytest.fixture
def cli(tmp_path, site):
    return Cli(tmp_path / "reader", site.url)


def pull(cli, *more):
    return cli("pull", "big", "--allow-unsigned", "--json", *more)


def test_it_is_pulled_verified_repaired_and_removed(cli, site):
    path = cli.cache / "files"
    ran = pull(cli)
    assert (ran.code, ran.data["fetched"]) == (0, len(DATA))
    model = next(p for p in path.iterdir() if p.suffix == "")
    model.write_bytes(DATA[:5000] + b"\0" + DATA[5001:])
    assert cli("verify", "big", "--json").data["files"][0]["wrong"] == [4]
    assert cli("verify", "big", "--repair").code == 0
    assert model.read_bytes() == DATA
    cli("cache", "clear", "big")
    assert list(path.iterdir()) == []


def test_its_copy_can_be_verified_without_the_cache(cli, tmp_path):
    folder = pull(cli, "--output", str(tmp_path / "out")).data["output"]
    cli("cache", "clear")
    assert cli("verify", folder).code == 0
    (tmp_path / "out/big/1/model.onnx.leaves").unlink()
    ran = cli("verify", folder, "--json")
    assert (ran.code, ran.data["error"]["code"]) == (4, "size_mismatch")


def test_a_wrong_leaves_file_is_refused_before_a_byte_of_the_model_is_fetched(cli, site):
    site.faults.flip["model.onnx.leaves"] = 40
    ran = pull(cli)
    assert (ran.code, ran.data["error"]["code"]) == (5, "all_sources_failed")
    assert ran.data["error"]["details"]["attempts"][0]["code"] == "hash_mismatch"
    assert not [path for path, _ in site.faults.requests if path.endswith(".onnx")]
