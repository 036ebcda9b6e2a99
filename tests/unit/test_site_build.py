"""The site as a whole: two clean builds in two folders give the same bytes, and nothing in it depends on where it lies."""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from tools.check import check_site
from tools.paths import CACHE, NODE_MODULES, ROOT


def files_of_the_project():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True)
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
    return {p.relative_to(dist).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in dist.rglob("*") if p.is_file()}


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
    from tools.steps.keys import make, site_key

    make(key)
    try:
        with pytest.raises(SystemExit, match="test key"):
            site_key(key)
    finally:
        key.unlink()
        key.with_suffix(".json").unlink()
