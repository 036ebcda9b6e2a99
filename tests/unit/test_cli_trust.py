"""The CLI on keys, signatures and publishing: whom a reader believes, what a publisher may do. CPython only."""

import json
import os
import stat
from pathlib import Path

import pytest

from edgenet.host.files import Disk
from tests.unit.cli_site import Cli, Server, model_bytes, publish


@pytest.fixture
def publisher(tmp_path):
    return Cli(tmp_path / "publisher")


@pytest.fixture
def site(tmp_path, publisher):
    folder = tmp_path / "site"
    publish(publisher, folder)
    return folder


@pytest.fixture
def server(site):
    with Server(site) as running:
        yield running


@pytest.fixture
def reader(tmp_path, server):
    return Cli(tmp_path / "reader", server.url)


def manifest_path(site):
    return site / "models/tiny/1.0.0/manifest.json"


def change(path, edit):
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def code(ran):
    return ran.data["error"]["code"]


# --- what a reader believes ------------------------------------------------------------------------------------------
def test_the_first_use_of_a_site_says_whose_key_is_believed(reader, publisher):
    key = publisher("keys", "show", "--json").data["keyId"]
    ran = reader("pull", "tiny")
    assert ran.code == 0 and "First use of" in ran.err and key in ran.err
    assert [row["keyId"] for row in reader("keys", "list", "--json").data["keys"]] == [key]
    assert reader("keys", "show", key[:5], "--json").data["from"] == reader.site


def test_a_site_that_changes_its_key_is_refused_until_the_user_agrees(reader, site, tmp_path):
    reader("pull", "tiny")
    (site / "trust.json").unlink()
    publish(Cli(tmp_path / "impostor"), site, "tiny", "2.0.0")
    ran = reader("pull", "tiny", "--json")
    assert (ran.code, code(ran)) == (4, "key_untrusted")
    assert "keys trust" in ran.err
    assert reader("keys", "trust").code == 0
    assert reader("pull", "tiny", "--json").data["version"] == "2.0.0"


REFUSED = {
    "a field was changed after signing": (lambda m: m.update(name="Other"), "signature_invalid"),
    "the signature is missing": (lambda m: m.pop("signature"), "signature_missing"),
    "a newer schema": (lambda m: m.update(schemaVersion=2), "schema_version_unsupported"),
    "a path that climbs out": (lambda m: m["artifacts"]["model"].update(filename="../model.onnx"), "unsafe_path"),
    "sizes that disagree": (lambda m: m["artifacts"]["model"].update(size=17), "sizes_disagree"),
    "another model than the index says": (lambda m: m.update(id="other"), "manifest_schema"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_manifest_is_refused_before_anything_it_names_is_fetched(reader, server, site, reason):
    edit, wanted = REFUSED[reason]
    change(manifest_path(site), edit)
    ran = reader("pull", "tiny", "--json")
    assert (ran.code, code(ran)) == (4, wanted)
    assert not [path for path, _ in server.faults.requests if path.endswith(".onnx")]
    assert reader("cache", "info", "--json").data["models"] == []


def test_an_unsigned_model_is_taken_only_when_asked(reader, site):
    change(manifest_path(site), lambda m: m.pop("signature"))
    assert reader("pull", "tiny", "--allow-unsigned", "--json").data["state"] == "unsigned"
    change(
        manifest_path(site),
        lambda m: m.update(
            signature={
                "algorithm": "ed25519",
                "keyId": "0" * 16,
                "timestamp": "2026-01-01T00:00:00Z",
                "value": "A" * 86 + "==",
            }
        ),
    )
    assert reader("pull", "tiny", "--allow-unsigned").code == 4


def test_an_expired_key_is_refused(reader, site):
    change(
        site / "trust.json",
        lambda t: t["keys"][0].update(notBefore="2020-01-01T00:00:00Z", notAfter="2020-02-01T00:00:00Z"),
    )
    assert code(reader("pull", "tiny", "--json")) == "key_expired"


def test_a_key_without_the_duty_is_refused(reader, site):
    change(site / "trust.json", lambda t: t["keys"][0].update(capabilities=["revoke"]))
    assert code(reader("pull", "tiny", "--json")) == "key_incapable"


def test_the_user_can_revoke_a_key_and_take_that_back(reader, publisher):
    reader("pull", "tiny")
    entry = publisher("keys", "show", "--json").data
    assert reader("keys", "revoke", entry["keyId"][:6]).code == 0
    assert code(reader("pull", "tiny", "--json")) == "key_revoked"
    assert reader("keys", "list", "--json").data["keys"][0]["revoked"]
    path = reader.home / "entry.json"
    path.write_text(json.dumps(entry))
    assert reader("keys", "trust", str(path)).code == 0
    assert reader("pull", "tiny").code == 0


def test_a_publisher_can_withdraw_a_version_from_all_readers(reader, publisher, site):
    reader("pull", "tiny")
    assert publisher("keys", "revoke", "--model", "tiny@1.0.0", "--publish", str(site)).code == 0
    assert code(reader("pull", "tiny", "--json")) == "manifest_revoked"
    assert code(reader("verify", "tiny", "--check-signature", "--json")) == "manifest_revoked"
    assert reader("verify", "tiny").code == 0  # its bytes are still right


def test_an_older_revocation_list_does_not_take_a_revocation_back(reader, publisher, site):
    publisher("keys", "revoke", "--model", "other@1.0.0", "--publish", str(site))
    old = (site / "revocations.json").read_bytes()
    publisher("keys", "revoke", "--model", "tiny@1.0.0", "--publish", str(site))
    assert code(reader("pull", "tiny", "--json")) == "manifest_revoked"
    (site / "revocations.json").write_bytes(old)
    ran = reader("pull", "tiny", "--json")
    assert code(ran) == "manifest_revoked" and "last accepted list counts" in ran.err


def test_check_signature_asks_the_site_the_model_came_from(reader, publisher):
    reader("pull", "tiny")
    reader.site = None
    key = publisher("keys", "show", "--json").data["keyId"]
    assert reader("verify", "tiny", "--check-signature", "--json").data["signedBy"] == key


def test_keys_that_are_no_keys(reader, tmp_path):
    path = tmp_path / "x.json"
    for content in ("", "[]", "{}", '{"keyId": 1}', "not json"):
        path.write_text(content)
        assert code(reader("keys", "trust", str(path), "--json")) == "key_invalid"
    assert code(reader("keys", "show", "ffff", "--json")) == "key_not_found"
    assert code(reader("keys", "revoke", "--json")) == "invalid_option"


# --- the key that signs ----------------------------------------------------------------------------------------------
def test_a_new_key_is_only_for_its_owner_and_is_never_overwritten(publisher, site):
    path = publisher.home / "key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    assert publisher("keys", "generate").code == 6
    assert path.read_bytes() == before


def test_a_key_others_can_read_is_told(publisher, site):
    os.chmod(publisher.home / "key.pem", 0o644)
    ran = publisher("sign", str(manifest_path(site)))
    assert ran.code == 0 and "chmod 600" in ran.err


@pytest.mark.parametrize(
    ("content", "wanted", "status"),
    [(None, "key_not_found", 3), (b"", "key_invalid", 4), (b"-----BEGIN X-----", "key_invalid", 4)],
    ids=["no file", "empty file", "no key"],
)
def test_a_key_file_that_is_of_no_use(publisher, site, tmp_path, content, wanted, status):
    path = tmp_path / "other.pem"
    if content is not None:
        path.write_bytes(content)
    ran = publisher("sign", str(manifest_path(site)), "--key", str(path), "--json")
    assert (ran.code, code(ran)) == (status, wanted)


def test_a_configured_key_id_guards_against_the_wrong_key(publisher, site):
    publisher("config", "set", "signing.keyId", "0123456789abcdef")
    assert code(publisher("sign", str(manifest_path(site)), "--json")) == "key_untrusted"


# --- publishing ------------------------------------------------------------------------------------------------------
def tree(folder):
    """Every file below a folder with its bytes, locks left out."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


def test_a_site_is_one_folder_of_plain_files(site):
    assert sorted(tree(site)) == [
        "models/index.json",
        "models/tiny/1.0.0/manifest.json",
        "models/tiny/1.0.0/model.onnx",
        "models/tiny/1.0.0/tokenizer.json",
        "trust.json",
    ]


def test_a_published_version_is_never_changed_unasked(publisher, site, tmp_path):
    before = tree(site)
    ran = publisher(
        "publish",
        str(tmp_path / "tiny-1.0.0-files"),
        "--name",
        "tiny",
        "--version",
        "1.0.0",
        "--output",
        str(site),
        "--json",
    )
    assert (ran.code, code(ran)) == (8, "already_published")
    assert tree(site) == before
    publish(publisher, site, "tiny", "1.0.0", "--replace", seed=9)
    assert (site / "models/tiny/1.0.0/model.onnx").read_bytes() == model_bytes(9)


def test_a_key_the_site_does_not_know_may_not_publish_there(site, tmp_path):
    stranger = Cli(tmp_path / "stranger")
    stranger("keys", "generate")
    before = tree(site)
    ran = stranger(
        "publish", str(tmp_path / "tiny-1.0.0-files"), "--name", "x", "--version", "1", "--output", str(site), "--json"
    )
    assert (ran.code, code(ran)) == (4, "key_untrusted")
    assert tree(site) == before


class FailingDisk(Disk):
    """Fails at the n-th write as a full disk does."""

    def __init__(self, writes):
        self.left = writes

    def _put(self, handle, data):
        self.left -= 1
        if self.left < 0:
            raise OSError(28, "No space left on device")
        super()._put(handle, data)


@pytest.mark.parametrize("writes", range(11))
def test_a_version_appears_whole_or_not_at_all(publisher, site, tmp_path, writes):
    before = tree(site)
    publisher.disk = FailingDisk(writes)
    files = tmp_path / "tiny-1.0.0-files"
    ran = publisher("publish", str(files), "--name", "tiny", "--version", "2.0.0", "--output", str(site), "--json")
    after = tree(site)
    listed = [row["version"] for row in json.loads(after["models/index.json"])["models"]]
    whole = {"models/tiny/2.0.0/" + name for name in ("manifest.json", "model.onnx", "tokenizer.json")}
    assert not [name for name in after if ".part" in name]
    assert ({name for name in after if "2.0.0" in name} in (set(), whole)) and not [
        p for p in (site / "models/tiny").iterdir() if p.name[0] == "."
    ]
    if ran.code:
        assert code(ran) == "quota_exceeded" and listed == ["1.0.0"] and before["trust.json"] == after["trust.json"]
    else:
        assert listed == ["1.0.0", "2.0.0"]


def test_a_publish_that_broke_off_can_be_run_again(publisher, site, tmp_path):
    again = [
        "publish",
        str(tmp_path / "tiny-1.0.0-files"),
        "--name",
        "tiny",
        "--version",
        "2.0.0",
        "--output",
        str(site),
    ]
    for writes, code_wanted in ((0, 6), (8, 6), (9, 6), (10, 0)):  # at the first file, trust.json, the index, nowhere
        publisher.disk = FailingDisk(writes)
        assert publisher(*again).code == code_wanted


BAD_FILES = {
    "no files at all": ({}, "invalid_option"),
    "two models": ({"a.onnx": b"1", "b.onnx": b"2"}, "invalid_option"),
    "two files of one name": ({"a.onnx": b"1", "x.txt": b"1", "x.bin": b"2"}, "invalid_option"),
    "an empty model": ({"a.onnx": b""}, "model_invalid"),
    "a name that no path may have": ({"a b.onnx": b"1"}, "unsafe_path"),
}


@pytest.mark.parametrize("reason", BAD_FILES)
def test_files_that_cannot_be_published(publisher, site, tmp_path, reason):
    files, wanted = BAD_FILES[reason]
    folder = tmp_path / "bad"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    before = tree(site)
    ran = publisher("publish", str(folder), "--name", "x", "--version", "1", "--output", str(site), "--json")
    assert code(ran) == wanted and tree(site) == before


def test_a_template_adds_fields_and_a_bad_one_is_refused(publisher, site, tmp_path):
    path = tmp_path / "fields.json"
    path.write_text(
        '{"architecture": {"hiddenSize": 384}, "benchmarks": {"msPerText": 5}, "signature": "not taken over"}'
    )
    made = publish(publisher, site, "tiny", "3.0.0", "--template", str(path)).data["manifest"]
    assert (made["architecture"], made["benchmarks"]) == ({"hiddenSize": 384}, {"msPerText": 5})
    files = str(tmp_path / "tiny-1.0.0-files")
    for content in ("[1]", "{", '{"architecture": 3}'):
        path.write_text(content)
        ran = publisher(
            "publish", files, "--name", "t", "--version", "4", "--template", str(path), "--output", str(site), "--json"
        )
        assert code(ran) in ("invalid_option", "manifest_schema")


def test_sign_makes_an_unsigned_manifest_good_and_refuses_files_that_differ(publisher, reader, site):
    change(manifest_path(site), lambda m: m.pop("signature"))
    assert publisher("sign", str(manifest_path(site).parent / "model.onnx")).code == 0
    assert reader("pull", "tiny").code == 0
    model = manifest_path(site).with_name("model.onnx")
    model.write_bytes(b"x" + model.read_bytes()[1:])
    assert code(publisher("sign", str(manifest_path(site)), "--json")) == "model_invalid"
    model.unlink()
    assert code(publisher("sign", str(manifest_path(site).parent), "--json")) == "invalid_option"


def test_a_site_with_a_broken_index_is_refused(reader, site):
    for content, wanted in (
        (b"{}", "manifest_schema"),
        (b"x", "manifest_schema"),
        (b'{"models": [{"id": "../x"}]}', "manifest_schema"),
    ):
        (site / "models/index.json").write_bytes(content)
        assert code(reader("list", "--json")) == wanted
    (site / "models/index.json").unlink()
    assert code(reader("list", "--json")) == "no_site"


def test_an_index_that_leads_elsewhere_is_not_followed(reader, site):
    change(site / "models/index.json", lambda i: i["models"][0].update(manifest="file:///etc/passwd"))
    assert code(reader("pull", "tiny", "--json")) == "manifest_schema"


def test_a_sub_folder_of_a_host_is_a_site(tmp_path, site):
    os.rename(site, tmp_path / "host-folder")
    (tmp_path / "host").mkdir()
    os.rename(tmp_path / "host-folder", tmp_path / "host" / "deep")
    with Server(tmp_path / "host") as server:
        assert Cli(tmp_path / "r", server.url + "deep")("pull", "tiny").code == 0
    assert Path(tmp_path / "r/cache/v1/models").is_dir()
