"""The steps in order, and `build.py build`."""

from tools import node
from tools.paths import CACHE, NODE_MODULES, OUT
from tools.step import Step
from tools.steps import assets, pyodide, site, wasm, web, wheel
from tools.steps import model as model_step


def npm():
    node.install()


def model():
    model_step.build(assets.model_wheel(), OUT / "models")


def kernels():
    wasm.build(OUT / "kernels")


STEPS = [
    Step("npm", npm, ["package.json", "package-lock.json"], [NODE_MODULES / "esbuild", NODE_MODULES / "pyodide"]),
    Step(
        "assets",
        assets.run,
        ["tools/lock/assets.txt", "tools/steps/assets.py", "package-lock.json"],
        [CACHE / "pyodide"],
    ),
    Step("model", model, ["tools/steps/model*.py", "tools/minilm", "manifests/*.json", "tools/lock/assets.txt"], [OUT / "models"]),
    Step("kernels", kernels, ["wasm", "tools/steps/wasm.py", "tools/lock/build.txt"], [OUT / "kernels"]),
    Step(
        "wheel", wheel.run, ["pyproject.toml", "pysrc/edgenet", "README.md", "tools/steps/wheel.py"], [OUT / "wheels"]
    ),
    Step("pyodide", pyodide.run, ["package-lock.json", "tools/steps/pyodide.*"], [OUT / "pyodide"]),
    Step("web", web.run, ["web", "service-worker.js", "package-lock.json", "tools/steps/web.py"], [OUT / "web"]),
]


def build(key=None, quiet=False):
    """Bring every step and then `dist/` up to date. `key`: path of the signing key, made when missing."""
    for step in STEPS:
        step.make()
    site.assemble(key)
