"""The site as a whole: two clean builds in two folders give the same bytes, and nothing in it depends on where it lies."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from edgenet.host.files import Disk
from edgenet.manifest import key_id
from edgenet.registry.publish import publish
from tools.check import check_site
from tools.paths import CACHE, NODE_MODULES, ROOT
from tools.steps import site
from tools.steps.keys import make, site_key


def files_of_the_project():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    return [n for n in listed.stdout.decode().split("\0") if n and (ROOT / n).is_file()]


def clean_build(folder, key):
    """{path: SHA-256} of a `dist/` built in `folder` from the project's files, with the downloads that are here already."""
    for name in files_of_the_project():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    (folder / ".build").mkdir()
    (folder / ".build" / "cache").symlink_to(CACHE)
    (folder / "node_modules").symlink_to(NODE_MODULES)
    build = "from tools import build; build.STEPS.remove(build.NPM); build.build(__import__('sys').argv[1])"
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{folder / 'pysrc'}"}
    subprocess.run([sys.executable, "-c", build, str(key)], cwd=folder, env=env, check=True, capture_output=True)
    dist = folder / "dist"
    return {
        p.relative_to(dist).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in dist.rglob("*")
        if p.is_file()
    }


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Two clean builds with one key, in folders whose paths differ in length."""
    home = tmp_path_factory.mktemp("builds")
    return [clean_build(home / name, home / "key.pem") for name in ("a", "another-folder")]


def test_two_clean_builds_give_identical_bytes(builds):
    first, second = builds
    assert {n for n in first.keys() | second.keys() if first.get(n) != second.get(n)} == set()
    assert len(first) > 40


def test_no_page_uses_absolute_paths():
    check_site(ROOT / "dist")


def test_a_test_key_is_refused(tmp_path):
    key = ROOT / "tests" / "key.pem"
    make(key)
    try:
        with pytest.raises(SystemExit, match="test key"):
            site_key(key)
    finally:
        key.unlink()
        key.with_suffix(".json").unlink()


@pytest.mark.parametrize("same_key", [True, False], ids=["the site's key", "another key"])
def test_a_build_keeps_the_models_published_into_the_site_and_says_so(same_key, tmp_path, monkeypatch, capsys):
    """The built model is the site's own; a model and another version of the built one were published into `dist/`."""
    monkeypatch.setattr(site, "DIST", tmp_path / "dist")
    key, other = site_key(tmp_path / "key.pem"), site_key(tmp_path / "other.pem")
    signer = key if same_key else other
    for name, version in (("built", "1.0.0"), ("built", "0.9.0"), ("own", "1.0.0")):
        published(tmp_path / "dist", name, version, signer)
    (tmp_path / "dist" / "models" / "own" / "2.0.0").mkdir()  # the rest of a publish that broke off
    published(tmp_path / "new", "built", "1.0.0", key)
    before = files_below(tmp_path / "new" / "models" / "built" / "1.0.0")

    capsys.readouterr()
    site.carry_over(tmp_path / "new" / "models", key_id(key.public_key))

    said, models = capsys.readouterr().out, tmp_path / "new" / "models"
    rows = json.loads((models / "index.json").read_text())["models"]
    assert [(row["id"], row["version"]) for row in rows] == [("built", "0.9.0"), ("built", "1.0.0"), ("own", "1.0.0")]
    assert all((models / row["manifest"]).exists() for row in rows)
    assert files_below(models / "own") == files_below(tmp_path / "dist" / "models" / "own")
    assert files_below(models / "built" / "1.0.0") == before
    assert said.count("Kept ") == 2 and ("publish it again" in said) == (not same_key)


def published(folder, name, version, key):
    """A model of a few bytes published as `edge-net-models publish` does."""
    file = folder.parent / "model.onnx"
    file.write_bytes(f"{name} {version}".encode())
    fields = {"id": name, "name": name, "version": version, "type": "embedding"}
    (folder / "trust.json").unlink(missing_ok=True)
    asyncio.run(publish({"model": file}, fields, folder, key, key.dates, key, Disk()))


def files_below(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
