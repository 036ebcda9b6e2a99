"""`edge-net-models adapters` and `docs/adapters.md`: its commands run as they stand; what is refused, and how. CPython only."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgenet.cli.adapter_files import write_adapter
from edgenet.errors import QuotaExceeded
from edgenet.host.files import Disk
from edgenet.lora import document, gguf, peft
from edgenet.lora.adapter import base_id
from tests.unit import tiny_model
from tests.unit.cli_site import Cli
from tests.unit.small_adapters import adapter, base, header

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")
Q = "model.layers.0.self_attn.q_proj"


def folder(path, made):
    path.mkdir(parents=True, exist_ok=True)
    for name, data in peft.write(made).items():
        (path / name).write_bytes(data)
    return str(path)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with `base.gguf`, another base, and the adapter `poems`, in which one works."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.gguf").write_bytes(base("llama", "q8_0"))
    (tmp_path / "other.gguf").write_bytes(base("gemma"))
    folder(tmp_path / "poems", replace(adapter("llama"), name="poems"))
    return tmp_path


@pytest.fixture
def cli(work):
    made = Cli(work / "home")

    def run(*args, code=0):
        ran = made("adapters", *args, "--json")
        assert ran.code == code, ran.err
        return ran.data

    run.keys = lambda *args: made("keys", *args)
    run.text = lambda *args: made("adapters", *args).out
    return run


@pytest.mark.skipif(os.name != "posix", reason="the page's blocks are for sh")
def test_the_commands_of_the_page_run_as_they_stand(work):
    (work / "bin").mkdir()
    program = work / "bin" / "edge-net-models"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgenet.cli "$@"\n')
    program.chmod(0o755)
    path = f"{work / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "pysrc"), "HOME": str(work), "PATH": path}
    script = "set -eu\n" + "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    script = script.replace("http://localhost:8000", tiny_model.site(work / "tiny"))
    done = subprocess.run(["sh", "-c", script], cwd=work, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "base.gguf: yes" in done.stdout and "valid, by the key" in done.stdout and "rhymes" in done.stdout
    assert "adapter: rhymes, cosine" in done.stderr


def test_the_python_of_the_page_runs():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})  # noqa: S102 - our own page


def test_info_tells_what_an_adapter_is_wherever_it_lies(cli):
    told = cli("info", "./poems", "--base", "base.gguf")
    want = adapter("llama")
    assert (told["name"], told["id"], told["rank"], told["alpha"]) == ("poems", want.id, 2, 4)
    assert (told["matrices"], told["bytes"], told["checksum"]) == (14, want.bytes, want.checksum)
    assert told["fit"] == {"base": "base.gguf", "fits": True, "differences": [], "notices": []}
    assert told["signature"] == {"state": "unsigned", "keyId": None}
    assert "not named" in cli.text("info", "./poems")


def test_info_says_what_differs_from_another_base(cli):
    told = cli("info", "./poems", "--base", "other.gguf", code=8)
    assert told["error"]["code"] == "adapter_mismatch" and told["fit"]["fits"] is False and "q_proj" in told["modules"]


def test_info_tells_of_another_file_of_the_base(cli, work):
    folder(work / "tuned", replace(adapter("llama"), base_id=base_id(header("llama")), base_sha256="0" * 64))
    assert cli("info", "./tuned", "--base", "base.gguf")["fit"]["notices"][0]["code"] == "adapter_other_file"


def test_what_was_imported_is_listed_renamed_exported_and_removed(cli, work):
    cli("import", "./poems", "--base", "base.gguf")
    (row,) = cli("list")["adapters"]
    assert (row["name"], row["family"], row["baseId"], row["rank"]) == ("poems", "llama", base_id(header("llama")), 2)
    assert cli("rename", "poems", "rhymes") == {"id": row["id"], "name": "rhymes"}
    assert cli("export", row["id"][:6], "--output", "out")["format"] == "peft"
    again = peft.read({path.name: path.read_bytes() for path in (work / "out").iterdir()})
    assert (again.id, again.name) == (row["id"], "rhymes")
    assert cli("remove", "rhymes")["removed"] == ["rhymes"] and cli("list")["adapters"] == []


FORMATS = [
    (["--output", "a.json"], "json", lambda data: document.read(data)),
    (["--output", "a.bin", "--format", "json"], "json", lambda data: document.read(data)),
    (["--output", "a.gguf", "--base", "base.gguf"], "gguf", lambda data: gguf.read(data, header("llama"))),
]


@pytest.mark.parametrize(("options", "kind", "read"), FORMATS, ids=lambda row: str(row))
def test_an_export_is_read_by_its_format(cli, work, options, kind, read):
    cli("import", "./poems")
    assert cli("export", "poems", *options)["format"] == kind
    assert np.allclose(read((work / options[1]).read_bytes()).delta(Q), adapter("llama").delta(Q))
    cli("remove", "poems")
    assert cli("import", options[1], "--base", "base.gguf", "--name", "back")["name"] == "back"


REFUSED = [
    (("info", "nothing"), 3, "adapter_not_found", "no such adapter"),
    (("import", "./nothing"), 3, "adapter_not_found", "no such path"),
    (("import", "./poems", "--base", "other.gguf"), 8, "adapter_mismatch", "another base"),
    (("import", "./poems", "--base", "nothing.gguf"), 3, "model_not_found", "no such base"),
    (("import", "./poems", "--name", ""), 8, "adapter_invalid", "an empty name"),
    (("import", "base.gguf"), 8, "invalid_option", "GGUF without a base"),
    (("import", "base.gguf", "--base", "base.gguf"), 8, "adapter_invalid", "a model, not an adapter"),
    (("import", "home/models.yaml"), 8, "adapter_invalid", "a file that is none"),
    (("export", "kept", "--output", "x.gguf"), 8, "invalid_option", "GGUF without a base"),
    (("export", "kept", "--output", "x", "--format", "onnx"), 8, "invalid_option", "a format that is none"),
    (("export", "kept", "--output", "poems"), 8, "adapter_exists", "a folder that holds an adapter"),
    (("export", "kept", "--output", "x.json", "--sign"), 3, "key_not_found", "no key to sign with"),
    (("rename", "kept", "second"), 8, "adapter_exists", "a name that is taken"),
    (("remove", "second", "nothing"), 3, "adapter_not_found", "one of two that is not there"),
]


@pytest.mark.parametrize(("args", "status", "code", "why"), REFUSED, ids=[row[3] for row in REFUSED])
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(cli, work, args, status, code, why):
    cli("import", "./poems", "--name", "kept")
    cli("import", folder(work / "b", adapter("qwen2")), "--name", "second")
    assert cli(*args, code=status)["error"]["code"] == code
    assert [row["name"] for row in cli("list")["adapters"]] == ["kept", "second"]


def test_a_full_disk_leaves_no_half_of_an_adapter(tmp_path):
    class Full(Disk):
        def write(self, path, data, mode=0o644):
            if path.name == peft.CONFIG:
                raise QuotaExceeded("full")
            super().write(path, data, mode)

    with pytest.raises(QuotaExceeded):
        write_adapter(SimpleNamespace(disk=Full()), adapter("llama"), tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_what_a_config_says_in_vain_is_told_as_a_notice(work):
    config = json.loads((work / "poems" / peft.CONFIG).read_text())
    (work / "poems" / peft.CONFIG).write_text(json.dumps(config | {"of_tomorrow": 1}))
    ran = Cli(work / "home")("adapters", "info", "./poems")
    assert ran.code == 0 and "notice: " in ran.err and "of_tomorrow" in ran.err and "Warning" not in ran.err


# --- signatures
@pytest.fixture
def signed(cli, work):
    """The path of a signed copy of `poems`."""
    cli.keys("generate")
    cli("import", "./poems")
    assert cli("export", "poems", "--output", "signed.json", "--sign")["signed"]
    cli("remove", "poems")
    return "./signed.json"


def trust(cli, work, **changes):
    entry = json.loads(cli.keys("show").out) | changes
    (work / "entry.json").write_text(json.dumps(entry))
    cli.keys("trust", "entry.json")
    return entry["keyId"]


def test_a_signature_is_unknown_until_its_key_is_trusted(cli, work, signed):
    assert cli("info", signed)["signature"]["state"] == "unknown"
    key = trust(cli, work)
    assert cli("info", signed)["signature"] == {"state": "signed", "keyId": key}
    assert cli("import", signed)["signature"]["state"] == "signed"
    assert cli("info", "poems")["signature"]["state"] == "signed"  # it is kept with the adapter


def test_a_revoked_key_and_one_that_may_not_sign_adapters_are_refused(cli, work, signed):
    key = trust(cli, work, capabilities=["sign-manifest"])
    assert cli("import", signed, code=4)["error"]["code"] == "key_incapable"
    trust(cli, work)
    cli.keys("revoke", key)
    assert cli("info", signed, code=4)["error"]["code"] == "key_revoked"
    assert cli("list")["adapters"] == []


def test_an_adapter_that_named_no_base_when_it_was_signed_names_one_without_the_signature(cli, work, signed):
    trust(cli, work)
    assert cli("import", signed, "--base", "base.gguf")["signature"]["state"] == "unsigned"
    assert cli("info", "poems", "--base", "base.gguf")["signature"]["state"] == "unsigned"


def test_an_adapter_that_was_changed_after_signing_is_refused(cli, work, signed):
    trust(cli, work)
    data = json.loads((work / signed).read_text())
    (work / signed).write_text(json.dumps(data | {"alpha": 400}))
    assert cli("import", signed, code=4)["error"]["code"] == "signature_invalid"
