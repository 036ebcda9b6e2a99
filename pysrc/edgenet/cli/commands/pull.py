"""`pull`: a model into the local cache, verified chunk by chunk. Imports nothing heavy until called."""

from typing import Annotated

import typer

from ..shell import Json, Result, command
from ..text import megabytes


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(
        app,
        "pull",
        "--site http://localhost:8000 pull minilm-l6-v2-q8",
        "pull minilm-l6-v2-q8 --version 1.0.0",
        "pull minilm-l6-v2-q8 --source ipfs",
        "pull minilm-l6-v2-q8 --output ./models",
    )(pull)


async def pull(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Id of the model.")],
    version: Annotated[str | None, typer.Option(help="This version, else the newest.")] = None,
    source: Annotated[str | None, typer.Option(help="Only from this kind of source: cdn, ipfs or folder.")] = None,
    output: Annotated[str | None, typer.Option(help="Also copy the files to OUTPUT/<id>/<version>/.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, max=32, help="Requests at a time.")] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Take a model that nobody signed (a bad signature never).")
    ] = False,
    as_json: Json = False,
):
    """Fetch a model into the local cache.

    Every chunk is verified before it is kept. An interrupted pull goes on where it stopped; a chunk that one source gives wrong is
    taken from the next one.
    """
    from ..fetching import pull_model

    shell = ctx.obj
    got = await pull_model(
        shell, model, version, source=source, output=output, parallel=parallel, allow_unsigned=allow_unsigned
    )
    name = f"{got.model.manifest['id']} {got.model.manifest['version']}"
    data = {
        "id": got.model.manifest["id"],
        "version": got.model.manifest["version"],
        "state": got.model.state,
        "size": got.totals.total,
        "fetched": got.totals.fetched,
        "reused": got.totals.total - got.totals.fetched,
        "files": got.files,
        "output": got.output,
        "evicted": got.evicted,
    }
    text = f"{name} is complete ({got.model.state}): {megabytes(got.totals.total)}, of which {megabytes(got.totals.fetched)} were fetched."
    return Result(data, text + (f"\nCopied to {got.output}" if got.output else ""))
