"""Make what `bench lora` serves in `.build/peers/lora`: two random models, what their training is compiled to, our page. CPython."""

import json
from dataclasses import asdict
from pathlib import Path

from bench.peers.llm import gguf_model
from bench.peers.llm.prepare import HOME as LLM
from bench.peers.llm.prepare import publish
from bench.peers.llm.shapes import QWEN05, Shape
from edgenet.formats.gguf import read_header
from edgenet.lora import LoraConfig
from edgenet.models.training import training_programs
from tools.node import esbuild
from tools.paths import WORK
from tools.steps import language

HERE = Path(__file__).resolve().parent
HOME = WORK / "peers" / "lora"
ROWS, RANK = 128, 4
DOTS = ("f32", "int8")
PAGES = ("ours", "learns", "steps")
SMALL = Shape(layers=8, hidden=512, heads=8, kv_heads=8, ffn=1408, vocab=4096)
# name → (shape, type of its matrices)
MODELS = {"small": (SMALL, "q8_0"), "0.5b": (QWEN05, "q4_0")}


def prepare() -> Path:
    """The folder to serve. Models are made once, the rest every time."""
    HOME.mkdir(parents=True, exist_ok=True)
    page = (HERE.parent / "llm" / "page.html").read_text()
    for name in (*PAGES, "steps-worker"):
        esbuild(HERE / f"{name}.js", "--bundle", "--format=esm", "--log-level=error", f"--outfile={HOME / name}.js")
    for name in PAGES:
        (HOME / f"{name}.html").write_text(page.replace("PAGE", name))
    for name, (shape, kind) in MODELS.items():
        path = file_of(name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            gguf_model.write(path, kind, shape)
        (HOME / name).mkdir(exist_ok=True)
        for part, text in {**language.beside(path), **programs(path)}.items():
            (HOME / name / part).write_text(text, encoding="utf-8")
        link = HOME / f"{name}.gguf"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    publish(HOME / "site")
    return HOME


def file_of(name: str) -> Path:
    """The model of that name; the large one is `bench llm`'s, too."""
    return LLM / "qwen05-q4_0.gguf" if name == "0.5b" else HOME / "models" / f"{name}.gguf"


def programs(path: Path) -> dict[str, str]:
    """{file name: JSON}: the Programs that train rank 4 on q, k, v and o, for each kind of dots."""
    with path.open("rb") as file:

        def read(offset, length):
            file.seek(offset)
            return file.read(length)

        header = read_header(read, path.stat().st_size, path.name)
    lora = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=("q_proj", "k_proj", "v_proj", "o_proj")
    )
    made = {}
    for dots in DOTS:
        table = training_programs(header, lora, rows=ROWS, sequences=1, dots=dots).programs
        made[f"{dots}.json"] = json.dumps({name: p.to_data() for name, p in table.items() if name != "evaluate"})
    return made


def shape_json(name: str) -> str:
    """The shape as PyTorch's side takes it."""
    return json.dumps(asdict(MODELS[name][0]))
