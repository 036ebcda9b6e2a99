"""`pull`: a model into the local cache, verified chunk by chunk. Imports nothing heavy until called."""

from typing import Annotated

import typer

from ..shell import Json, Result, command
from ..text import megabytes, table


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(
        app,
        "pull",
        "--site http://localhost:8000 pull minilm-l6-v2-q8",
        "pull minilm-l6-v2-q8 --version 1.0.0",
        "pull minilm-l6-v2-q8 --source ipfs",
        "pull minilm-l6-v2-q8 --output ./models",
        "pull hf:owner/name",
        "pull hf:owner/name/model-q4_0.gguf --hub https://hub.example.org",
    )(pull)


async def pull(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Id of the model, or hf:owner/name/file.gguf on a hub.")],
    version: Annotated[str | None, typer.Option(help="This version, else the newest.")] = None,
    source: Annotated[str | None, typer.Option(help="Only from this kind of source: cdn, ipfs or folder.")] = None,
    output: Annotated[str | None, typer.Option(help="Also copy the files to OUTPUT/<id>/<version>/.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, max=32, help="Requests at a time.")] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Take a model that nobody signed (a bad signature never).")
    ] = False,
    hub: Annotated[str | None, typer.Option(help="Address of the hub of an hf: model (else `hub.endpoint`).")] = None,
    as_json: Json = False,
):
    """Fetch a model into the local cache.

    Every chunk is verified before it is kept. An interrupted pull goes on where it stopped; a chunk that one source gives wrong is
    taken from the next one. A model off a hub (`hf:owner/name` lists its files) is signed by nobody: its hashes are computed here.
    """
    from ...sources.hub import parse
    from ..fetching import pull_model
    from ..hub import pull_hub

    shell = ctx.obj
    if model.startswith("hf:"):
        _refuse("for a model off a hub", {"--version": version, "--source": source, "--parallel": parallel})
        return (
            _pulled(await pull_hub(shell, model, hub, output))
            if parse(model).file
            else await _listed(shell, model, hub)
        )
    _refuse("for a model of a site", {"--hub": hub})
    got = await pull_model(
        shell, model, version, source=source, output=output, parallel=parallel, allow_unsigned=allow_unsigned
    )
    return _pulled(got)


def _refuse(what: str, given: dict) -> None:
    """Raise InvalidOption for options that mean nothing here."""
    from ...errors import InvalidOption

    if names := [name for name, value in given.items() if value is not None]:
        raise InvalidOption(f"{', '.join(names)} means nothing {what}; leave it out.", options=names)


async def _listed(shell, model: str, hub: str | None) -> Result:
    from ..hub import hub_files

    files = await hub_files(shell, model, hub)
    rows = [{"file": f"{model}/{row['file']}", "size": megabytes(row["size"])} for row in files]
    text = table(rows, {"file": "PULL ONE OF", "size": "SIZE"}) if rows else f"{model} holds no GGUF file."
    return Result({"address": model, "files": files}, text)


def _pulled(got) -> Result:
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
