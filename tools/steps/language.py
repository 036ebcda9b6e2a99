"""Language models that the repository carries as GGUF: what goes beside each (Program, tokenizer, generation settings) is compiled here."""

import json
import shutil
from pathlib import Path

from edgenet.formats.gguf import read_header
from edgenet.models.compiled import compile_gguf
from tools.paths import ROOT

SOURCES = ROOT / "models"


def build(out_dir: Path) -> None:
    """Write `<id>/` under `out_dir` for every committed manifest of a language model, whole or not at all."""
    for path in sorted(ROOT.glob("manifests/*.json")):
        template = json.loads(path.read_text(encoding="utf-8"))
        if template["type"] == "text-generation":
            place(SOURCES / f"{template['id']}.gguf", out_dir / template["id"])


def place(source: Path, folder: Path) -> None:
    """The model's folder: the file itself and what is compiled from its header."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    shutil.copyfile(source, fresh / "model.gguf")
    for name, text in beside(source).items():
        (fresh / name).write_text(text, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def beside(source: Path) -> dict[str, str]:
    """{file name: JSON} of what an engine reads beside a GGUF file."""
    with source.open("rb") as file:

        def read(offset, length):
            file.seek(offset)
            return file.read(length)

        made = compile_gguf(read_header(read, source.stat().st_size, source.name))
    data = {"program.json": made.program.to_data(), "tokenizer.json": made.tokenizer, "generation.json": made.generation}
    return {name: json.dumps(value, ensure_ascii=False, separators=(",", ":")) for name, value in data.items()}
