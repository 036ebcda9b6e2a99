"""`embed`: texts to vectors, as JSON lines or .npz. Imports nothing heavy until called."""

from typing import Annotated

import typer

from ...errors import InvalidOption
from ..shell import Json, Result, command, counted
from .search import DEFAULT_MODEL, Model


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
    ] = "-",
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
    from ..vectors import WRITERS, jsonl, rows_of, suffix

    shell = ctx.obj
    kind = suffix(output)
    if kind not in WRITERS:
        raise InvalidOption(
            f"--output must end in .npz or .jsonl, or be - for standard output; found {output!r}.", output=output
        )
    if output != "-":
        from pathlib import Path

        shell.disk.probe(Path(output).absolute().parent)  # before the model works for minutes
    found = gather(shell, sources)
    async with Embedder.open(shell, model) as embedder:
        parts = embedder.parts(found.documents, lines)
        vectors = await embedder.vectors([part.text for part in parts])
    data = {
        "texts": len(parts),
        "dimensions": int(vectors.shape[1]),
        "model": embedder.name,
        "output": output,
        "skipped": found.skipped,
    }
    if output != "-":
        shell.disk.write(Path(output), WRITERS[kind](parts, vectors))
        return Result(
            data,
            f"{counted(len(parts), 'text')} of {counted(len(found.documents), 'document')}, {vectors.shape[1]} numbers each: {output}",
        )
    if as_json:
        return Result(data | {"rows": rows_of(parts, vectors)})
    return Result(data, jsonl(parts, vectors).decode().rstrip("\n"))
