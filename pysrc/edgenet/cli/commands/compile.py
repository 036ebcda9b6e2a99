"""`compile`: a GGUF model's Program, tokenizer and generation settings. Imports nothing heavy until called."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ..shell import Json, Result, command
from ..text import megabytes


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(
        app,
        "compile",
        "compile model-q4_0.gguf --output ./compiled",
        "compile model-q4_0.gguf --output ./compiled --context 4096 --kv q8",
    )(compile_)


def compile_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="A GGUF file, or the first part of a split one.")],
    output: Annotated[str, typer.Option(help="Folder for program.json, tokenizer.json and generation.json.")],
    context: Annotated[
        int, typer.Option(min=0, help="Tokens of one sequence (0: 2048, or what the model was made for).")
    ] = 0,
    kv: Annotated[str, typer.Option(help="How keys and values are kept: f32, q8 or q4.")] = "f32",
    as_json: Json = False,
):
    """Compile a GGUF model for the engine.

    What the engine loads beside the weights is written, and how much memory the model will need is told.
    """
    from ...host.gguf_files import GgufFiles
    from ...models.compiled import compile_gguf, default_capacity, read_values

    model = GgufFiles(file)
    capacity = default_capacity(model.header, context, kv)
    made = compile_gguf(model.header, capacity, read_values(model.header, model.read))
    contents = {
        "program": made.program.to_json(),
        "tokenizer": _json(made.tokenizer),
        "generation": _json(made.generation),
    }
    paths = {name: Path(output) / f"{name}.json" for name in contents}
    for name, data in contents.items():
        ctx.obj.disk.write(paths[name], data)
    data = {"architecture": made.generation["architecture"], "context": capacity.context, "kv": capacity.kv}
    data |= {"memory": made.memory, "files": {name: str(path) for name, path in paths.items()}}
    return Result(data, _text(data, Path(output)))


def _json(value) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _text(data: dict, folder: Path) -> str:
    parts = ", ".join(f"{name} {megabytes(size)}" for name, size in data["memory"].items() if name != "total")
    return (
        f"{data['architecture']}, context {data['context']} tokens, K and V in {data['kv']}: program.json, tokenizer.json and "
        f"generation.json are in {folder}.\nIt needs {megabytes(data['memory']['total'])} of memory: {parts}."
    )
