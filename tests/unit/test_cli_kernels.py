"""`edge-net-models kernels` and `docs/kernels.md`: its commands run as they stand; what is refused, and how. CPython only."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgenet import errors
from edgenet.host.packs import open_pack
from edgenet.kernels.authoring import complete_pack
from tests.unit.cli_site import Cli, Server

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
import kernel_pack  # noqa: E402

PAGE = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site with a kernel pack and the key that signed it."""
    folder = tmp_path_factory.mktemp("site")
    kernel_pack.write_pack(folder / "kernels")
    (folder / "trust.json").write_text(json.dumps(kernel_pack.trust_document()))
    return folder


@pytest.fixture
def cli(site, tmp_path):
    return Cli(tmp_path / "home", str(site))


@pytest.mark.skipif(os.name != "posix", reason="the page's blocks are for sh")
def test_the_commands_of_the_page_run_as_they_stand(site, tmp_path):
    (tmp_path / "bin").mkdir()
    for name, run in {"edge-net-models": "-m edgenet.cli", "python": ""}.items():
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {run} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    (work / "wasm").symlink_to(ROOT / "wasm")
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "pysrc"), "HOME": str(tmp_path), "PATH": path}
    with Server(site) as server:
        blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.S)
        script = "set -eu\n" + "".join(blocks).replace("http://localhost:8000", server.url.rstrip("/"))
        done = subprocess.run(["sh", "-c", script], cwd=work, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert "swiglu_f32" in done.stdout and done.stdout.rstrip().endswith("2 4 6"), done.stdout
        snippet = re.search(r"```python\n(.*?)```", PAGE, re.S)[1].replace("http://localhost:8000/", server.url)
        found = {"KEY": kernel_pack.trust_document()["keys"][0]}
        exec(snippet, found)  # noqa: S102  the page's own lines
    assert np.allclose(found["y"], [0, 2 / (1 + np.exp(-1)), -6 / (1 + np.exp(2))])


def test_verify_says_who_signed_and_how_much_was_checked(cli):
    data = cli("kernels", "verify", "--json").data
    assert data["signedBy"] == kernel_pack.trust_document()["keys"][0]["keyId"]
    assert data["extensions"] == ["lora_apply_f32", "rmsnorm_f32", "swiglu_f32"] and data["healthVectors"] > 20


def test_list_gives_what_each_kernel_takes(cli):
    rows = {row["id"]: row for row in cli("kernels", "list", "--json").data["kernels"]}
    assert rows["swiglu_f32"]["runnable"] and not rows["normalize"]["runnable"]
    assert list(rows["rmsnorm_f32"]["params"]) == ["eps", "hidden", "rows"]


REFUSED = [
    ("an unknown kernel", ["nobody", "--a", "1"], 7, "kernel_not_found"),
    ("an engine kernel", ["normalize", "--a", "1"], 7, "kernel_not_found"),
    ("a missing parameter", ["swiglu_f32", "--a", "1", "--b", "1", "--param", "rows=1"], 7, "kernel_parameters"),
    ("numbers that are none", ["swiglu_f32", "--a", "one"], 8, "invalid_option"),
    ("a parameter without a value", ["swiglu_f32", "--a", "1", "--param", "rows"], 8, "invalid_option"),
]


@pytest.mark.parametrize(("reason", "args", "status", "code"), REFUSED, ids=[r[0] for r in REFUSED])
def test_run_refuses(cli, reason, args, status, code):
    ran = cli("kernels", "run", *args, "--json")
    assert (ran.code, ran.data["error"]["code"]) == (status, code)


def test_a_kernels_own_refusal_carries_its_number(cli):
    params = ["--param", "rows=1", "--param", "hidden=1", "--param", "eps=-1"]
    error = cli("kernels", "run", "rmsnorm_f32", "--a", "1", "--b", "1", *params, "--json").data["error"]
    assert error["code"] == "kernel_trap" and error["details"]["returned"] == 3


def test_a_pack_from_elsewhere_is_not_believed_without_a_key(cli, site):
    ran = cli("kernels", "verify", str(site / "kernels"), "--json")
    assert (ran.code, ran.data["error"]["code"]) == (4, "pack_no_trusted_key")


def test_a_pack_with_one_changed_byte_is_refused(cli, site, tmp_path):
    bad = tmp_path / "bad"
    for path in [p for p in (site / "kernels").rglob("*") if p.is_file()]:
        target = bad / path.relative_to(site / "kernels")
        target.parent.mkdir(parents=True, exist_ok=True)
        data = bytearray(path.read_bytes())
        data[-9] ^= path.name == "swiglu_f32.wasm"
        target.write_bytes(data)
    trust = ["--trust", str(site / "trust.json"), "--json"]
    assert cli("kernels", "verify", str(bad), *trust).data["error"]["code"] == "pack_hash_mismatch"


def test_a_runaway_kernel_is_stopped_and_its_pack_never_starts(site, tmp_path):
    wasm = (site / "kernels" / "bad" / "runaway.wasm").read_bytes()
    tensor = {"dtype": "f32", "shape": ["n"]}
    kernel = {
        "id": "runaway",
        "path": "runaway.wasm",
        "inputs": [{"name": "x", **tensor}],
        "outputs": [{"name": "y", **tensor}],
        "params": {"n": {"type": "u32"}},
        "resource_limits": {"max_epoch_ticks": 5},
        "cases": [{"a": [1], "params": {"n": 1}, "expected": [1]}],
    }
    document = {
        "name": "p",
        "version": "1.0.0",
        "min_runtime_version": "0.1.0",
        "max_runtime_version": "9.0.0",
        "author": {},
    }
    made = complete_pack(json.dumps({**document, "kernels": [kernel]}).encode(), {"runaway.wasm": wasm})
    made |= {"runaway.wasm": wasm, "kernels.json.sig": kernel_pack.sign(made["kernels.json"])}
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(errors.HealthCheckFailed) as caught, open_pack(str(tmp_path), kernel_pack.trust_document()):
        pass
    assert caught.value.details["cause"]["code"] == "kernel_deadline"


LACKING = [
    ("no cases", {"cases": []}, "cases"),
    ("no expected answer", {"cases": [{"a": [1]}]}, "expected"),
    ("a module that is not there", {"path": "x.wasm"}, "compile"),
    ("an id that is no id", {"id": "A B"}, "id"),
]


@pytest.mark.parametrize(("reason", "change", "says"), LACKING, ids=[r[0] for r in LACKING])
def test_a_description_is_refused_for(reason, change, says):
    tensor = [{"name": "x", "dtype": "f32", "shape": [1]}]
    row = {"id": "k", "path": "k.wasm", "inputs": tensor, "outputs": tensor, "cases": [{"a": [1], "expected": [1]}]}
    document = {
        "name": "p",
        "version": "1.0.0",
        "min_runtime_version": "0.1.0",
        "max_runtime_version": "9.0.0",
        "author": {},
    }
    with pytest.raises(errors.InvalidPack, match=says):
        complete_pack(json.dumps({**document, "kernels": [row | change]}).encode(), {"k.wasm": b"\0asm"})
