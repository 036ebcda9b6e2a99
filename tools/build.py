"""The steps in order, and `build.py build`."""

import asyncio
import shutil
from contextlib import contextmanager

from edgenet.host.files import Disk
from tools import node
from tools.paths import CACHE, DIST, NODE_MODULES, OUT, ROOT, WORK
from tools.step import Step
from tools.steps import assets, language, pyodide, site, wasm, web, wheel
from tools.steps import model as model_step
from tools.steps.keys import site_key

BUNDLED = ROOT / "pysrc" / "edgenet" / "kernels" / "engine.relaxed.wasm"  # what the CLI runs, inside the wheel


def npm():
    node.install()


def peers():
    node.install(ROOT / "bench" / "peers")


def model():
    model_step.build(assets.model_wheel(), OUT / "models", OUT / "gguf")


def kernels():
    wasm.build(OUT / "kernels")
    shutil.copyfile(OUT / "kernels" / BUNDLED.name, BUNDLED)


NPM = Step("npm", npm, ["package.json", "package-lock.json"], [NODE_MODULES / "esbuild", NODE_MODULES / "typescript"])
PEERS = Step("peers", peers, ["bench/peers/package*.json"], [ROOT / "bench" / "peers" / "node_modules"])
STEPS = [
    NPM,
    Step(
        "assets",
        assets.run,
        ["tools/lock/assets.txt", "tools/steps/assets.py", "package-lock.json"],
        [CACHE / "pyodide"],
    ),
    Step(
        "model",
        model,
        ["tools/steps/model*.py", "tools/minilm", "tools/gguf_file.py", "manifests/*.json", "tools/lock/assets.txt"],
        [OUT / "models", OUT / "gguf"],
    ),
    Step(
        "language models",
        lambda: language.build(OUT / "models"),
        ["models", ".build/out/gguf", "manifests/*.json", "tools/steps/language.py", "pysrc/edgenet/**/*.py"],
        [OUT / "models"],
    ),
    Step(
        "kernels",
        kernels,
        [
            "wasm",
            "tools/steps/wasm.py",
            "tools/lock/build.txt",
            "pysrc/edgenet/kernels/**/*.py",
            "pysrc/edgenet/formats/types.py",
        ],
        [OUT / "kernels", BUNDLED],
    ),
    Step(
        "wheel", wheel.run, ["pyproject.toml", "pysrc/edgenet", "README.md", "tools/steps/wheel.py"], [OUT / "wheels"]
    ),
    Step("pyodide", pyodide.run, ["package-lock.json", "tools/steps/pyodide.*"], [OUT / "pyodide"]),
    Step("web", web.run, ["web", "service-worker.js", "package-lock.json", "tools/steps/web.py"], [OUT / "web"]),
]


@contextmanager
def alone():
    """One build at a time in this folder: two would write each other's output."""
    with asyncio.Runner() as runner:
        lock = Disk().locked(
            WORK / "build.lock", lambda: print("Another build runs in this folder; waiting for it …", flush=True)
        )
        runner.run(lock.__aenter__())
        try:
            yield
        finally:
            runner.run(lock.__aexit__(None, None, None))


def build(key=None):
    """Bring every step and then `dist/` up to date. `key`: path of the signing key, made when missing."""
    with alone():
        for step in STEPS:
            step.make()
        made = [".build/out", "manifests/*.json", "tools/steps/*.py"]
        who = site_key(key)
        Step("site", lambda: site.assemble(who), made, [DIST / "build.json"], lambda: who.public_key.hex()).make()
