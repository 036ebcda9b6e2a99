"""Models published as GGUF, carried by the repository or built before: what goes beside each (Program, tokenizer, generation settings) is
compiled here.
"""

import json
import shutil
from pathlib import Path

from edgenet.formats.gguf import read_header
from edgenet.models.adapted import document as adapted_document
from edgenet.models.compiled import compile_gguf, read_values
from tools.paths import OUT, ROOT

SOURCES = (ROOT / "models", OUT / "gguf")


def build(out_dir: Path) -> None:
    """Write a folder under `out_dir`, named as the manifest, for every committed manifest with a Program, whole or not at all."""
    for path in sorted(ROOT.glob("manifests/*.json")):
        artifacts = json.loads(path.read_text(encoding="utf-8"))["artifacts"]
        if "program" in artifacts:
            place(source(path.stem), out_dir / path.stem, adapted="adapted" in artifacts)


def source(name: str) -> Path:
    """The GGUF file of a manifest. Raises FileNotFoundError."""
    found = [folder / f"{name}.gguf" for folder in SOURCES if (folder / f"{name}.gguf").exists()]
    if not found:
        raise FileNotFoundError(f"manifests/{name}.json needs {name}.gguf in one of: {', '.join(map(str, SOURCES))}.")
    return found[0]


def place(source: Path, folder: Path, adapted: bool = False) -> None:
    """The model's folder: the file itself and what is compiled from its header; with `adapted`, what an engine needs to take adapters."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    shutil.copyfile(source, fresh / "model.gguf")
    for name, text in beside(source, adapted).items():
        (fresh / name).write_text(text, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def beside(source: Path, adapted: bool = False) -> dict[str, str]:
    """{file name: JSON} of what an engine reads beside a GGUF file."""
    with source.open("rb") as file:

        def read(offset, length):
            file.seek(offset)
            return file.read(length)

        header = read_header(read, source.stat().st_size, source.name)
        values = read_values(header, lambda part, offset, length: read(offset, length))
        made = compile_gguf(header, values=values)
    data = {
        "program.json": made.program.to_data(),
        "tokenizer.json": made.tokenizer,
        "generation.json": made.generation,
    }
    if adapted:
        data["adapted.json"] = adapted_document(header, made.program.capacity, values)
    return {name: json.dumps(value, ensure_ascii=False, separators=(",", ":")) for name, value in data.items()}
