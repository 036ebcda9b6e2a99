"""Make what `bench llm` serves in `.build/peers/llm`: the random models (once), and every side's page. CPython."""

import shutil
from pathlib import Path

from bench.peers.llm import gguf_model, onnx_model
from tools.node import esbuild
from tools.paths import ROOT, WORK
from tools.steps import language

HERE = Path(__file__).resolve().parent
HOME = WORK / "peers" / "llm"
MODULES = ROOT / "bench" / "peers" / "node_modules"
SIDES = ("ours", "wllama", "ort")
GGUF, ONNX = "qwen05-q4_0.gguf", "qwen05-{}.onnx"
VARIANTS = ("q4", "q8")


def prepare() -> Path:
    """The folder to serve. The models are made once, the pages every time."""
    HOME.mkdir(parents=True, exist_ok=True)
    for page in (*SIDES, "ort-worker"):
        esbuild(
            HERE / f"{page}.js", "--bundle", "--format=esm", "--log-level=error", f"--outfile={HOME / f'{page}.js'}"
        )
    for page in SIDES:
        (HOME / f"{page}.html").write_text((HERE / "page.html").read_text().replace("PAGE", page))
    shutil.copyfile(MODULES / "@wllama" / "wllama" / "esm" / "wasm" / "wllama.wasm", HOME / "wllama.wasm")
    shutil.copytree(
        MODULES / "onnxruntime-web" / "dist", HOME / "ort", ignore=shutil.ignore_patterns("*.map"), dirs_exist_ok=True
    )
    make_models()
    return HOME


def make_models():
    """Files of 350 to 900 MB, random weights."""
    if not (HOME / GGUF).exists():
        gguf_model.write(HOME / GGUF)
    for variant in VARIANTS:
        if not (HOME / ONNX.format(variant)).exists():
            onnx_model.write(HOME / ONNX.format(variant), variant)
    compile_ours()


def compile_ours():
    """What our engine reads beside the GGUF, in `ours/`; made anew every time, as the compiler changes."""
    (HOME / "ours").mkdir(exist_ok=True)
    for name, text in language.beside(HOME / GGUF).items():
        (HOME / "ours" / name).write_text(text, encoding="utf-8")
