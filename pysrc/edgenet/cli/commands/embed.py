"""`embed`: texts to vectors, as JSON lines or .npz. Imports nothing heavy until called."""

from pathlib import Path
from typing import Annotated

import typer

from ...errors import InvalidOption
from ..shell import Json, Result, command
from ..text import counted
from .search import DEFAULT_MODEL, Model

STDOUT = "-"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(
        app,
        "embed",
        "embed ./notes --output notes.npz",
        "embed a.txt b.md --output vectors.jsonl",
        'echo "one text" | edge-net-models embed -',
        "embed sentences.txt --lines --output vectors.jsonl",
    )(embed)


async def embed(
    ctx: typer.Context,
    sources: Annotated[list[str], typer.Argument(help="Files or folders; - is standard input.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="A file that ends in .npz or .jsonl; - prints JSON lines.")
    ] = STDOUT,
    lines: Annotated[
        bool, typer.Option("--lines", help="Each line is a text of its own; else texts are split into passages.")
    ] = False,
    model: Model = DEFAULT_MODEL,
    as_json: Json = False,
):
    """Turn texts into vectors of unit length.

    An .npz holds embeddings f32 (n, d), files, lines and texts; a JSON line holds file, line, text and embedding.
    """
    from ..embedding import Embedder
    from ..texts import gather

    shell = ctx.obj
    _check_output(shell, output)
    found = gather(shell, sources)
    async with Embedder.open(shell, model) as embedder:
        parts = embedder.parts(found.documents, lines)
        vectors = await embedder.vectors([part.text for part in parts])
    data = {"texts": len(parts), "dimensions": int(vectors.shape[1]), "model": embedder.name, "output": output}
    return _result(shell, data | {"skipped": found.skipped}, parts, vectors)


def _check_output(shell, output: str) -> None:
    """Raise InvalidOption or StorageUnavailable before the model works for minutes."""
    from ..vectors import WRITERS, suffix

    if suffix(output) not in WRITERS:
        text = f"--output must end in .npz or .jsonl, or be - for standard output; found {output!r}."
        raise InvalidOption(text, output=output)
    if output != STDOUT:
        shell.disk.probe(Path(output).absolute().parent)


def _result(shell, data: dict, parts, vectors) -> Result:
    from ..vectors import WRITERS, jsonl, rows_of, suffix

    output = data["output"]
    if output != STDOUT:
        shell.disk.write(Path(output), WRITERS[suffix(output)](parts, vectors))
        return Result(data, f"{counted(len(parts), 'text')}, {data['dimensions']} numbers each: {output}")
    if shell.json:
        return Result(data | {"rows": rows_of(parts, vectors)})
    return Result(data, jsonl(parts, vectors).decode().rstrip("\n"))
