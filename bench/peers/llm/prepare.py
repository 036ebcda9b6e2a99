"""Make what `bench llm` serves in `.build/peers/llm`: the random models (once), and every side's page. CPython."""

import json
import shutil
from pathlib import Path

from bench.peers.llm import gguf_model, onnx_model
from tools.node import esbuild
from tools.paths import DIST, ROOT, WORK
from tools.steps import language
from tools.steps import site as site_step
from tools.steps.keys import site_key

HERE = Path(__file__).resolve().parent
HOME = WORK / "peers" / "llm"
MODULES = ROOT / "bench" / "peers" / "node_modules"
SIDES = ("ours", "sdk", "wllama", "ort")
GGUF, ONNX = "qwen05-q4_0.gguf", "qwen05-{}.onnx"
VARIANTS = ("q4", "q8")
BESIDE = ("program.json", "tokenizer.json", "generation.json")
MODEL = "bench-qwen05"


def prepare() -> Path:
    """The folder to serve. The models are made once, the pages every time."""
    HOME.mkdir(parents=True, exist_ok=True)
    for page in (*SIDES, "ort-worker", "plain-reader"):
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


def publish(site: Path):
    """Lay the built site out in `site` with the model published beside its own, signed by the builder's key."""
    shutil.rmtree(site, ignore_errors=True)
    (site / "models").mkdir(parents=True)
    for entry in DIST.iterdir():
        if entry.name != "models":
            (site / entry.name).symlink_to(entry)
    for entry in (DIST / "models").iterdir():
        (site / "models" / entry.name).symlink_to(entry)
    files, names = HOME / "published", ("model.gguf", *BESIDE)
    files.mkdir(exist_ok=True)
    for name in names:
        (files / name).unlink(missing_ok=True)
        (files / name).symlink_to(HOME / GGUF if name == "model.gguf" else HOME / "ours" / name)
    template = {
        "schemaVersion": 1, "id": MODEL, "name": "Random weights, 0.5B", "version": "1.0.0", "type": "text-generation",
        "artifacts": {name.partition(".")[0]: {"filename": name} for name in names},
        "sources": [{"type": "cdn", "priority": 1, "baseUrl": "./"}],
    }  # fmt: skip
    row = site_step.model(template, site / "models", site_key(), files)
    index = json.loads((DIST / "models" / "index.json").read_text("utf-8"))
    (site / "models" / "index.json").unlink()
    site_step.write_json(site / "models" / "index.json", {"models": [*index["models"], row]})


def compile_ours():
    """What our engine reads beside the GGUF, in `ours/`; made anew every time, as the compiler changes."""
    (HOME / "ours").mkdir(exist_ok=True)
    for name, text in language.beside(HOME / GGUF).items():
        (HOME / "ours" / name).write_text(text, encoding="utf-8")
