"""`adapters`: what the user's models have learned, kept, looked at, taken in, given away. Imports nothing heavy until called."""

from pathlib import Path
from typing import Annotated

import typer

from ...errors import AdapterExists, InvalidOption
from ..shell import Json, Result, command
from ..text import counted, megabytes, table
from . import adapters_merge
from .keys import Key
from .search import DEFAULT_MODEL
from .search import Model as Embedding

COLUMNS = {
    "name": "NAME",
    "id": "ID",
    "family": "FAMILY",
    "rank": "RANK",
    "modules": "MODULES",
    "size": "SIZE",
    "created": "CREATED",
}
FORMATS = {".json": "json", ".gguf": "gguf"}  # by the output's ending; without one of these, PEFT's folder
Adapter = Annotated[str, typer.Argument(help="Name or id of a kept adapter, or the path of a folder or file.")]
Kept = Annotated[str, typer.Argument(help="Name or id of a kept adapter.")]
Base = Annotated[str | None, typer.Option(help="GGUF file of the base model.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        help="Adapters: list, look at, import, export, describe, merge.", no_args_is_help=True, rich_markup_mode=None
    )
    command(group, "list", "adapters list", "adapters list --json")(list_)
    command(group, "info", "adapters info poems", "adapters info ./poems --base model-q8_0.gguf")(info)
    command(
        group,
        "import",
        "adapters import ./poems",
        "adapters import ./poems.json --name rhymes",
        "adapters import ./poems.gguf --base model-q8_0.gguf",
    )(import_)
    command(
        group,
        "export",
        "adapters export poems --output ./poems",
        "adapters export poems --output ./poems.json --sign",
        "adapters export poems --output ./poems.gguf --base model-q8_0.gguf",
    )(export)
    command(group, "rename", "adapters rename poems rhymes")(rename)
    command(group, "remove", "adapters remove poems")(remove)
    command(
        group, "describe", "adapters describe poems ./my-poems", "adapters describe poems verses.txt answers.jsonl"
    )(describe)
    adapters_merge.register(group)
    app.add_typer(group, name="adapters")


async def list_(ctx: typer.Context, as_json: Json = False):
    """List the adapters that are kept, those used longest ago first."""
    from ..adapter_pool import folder, opened

    shell = ctx.obj
    entries = (await opened(shell)).entries
    rows = [
        {
            "name": e.name,
            "id": e.id,
            "family": e.family,
            "baseId": e.base_id,
            "rank": e.rank,
            "modules": list(e.modules),
            "bytes": e.bytes,
            "created": e.created,
            "lastUsed": e.last_used,
            "metrics": dict(e.metrics),
            "described": e.profile and {"texts": e.profile.count, "embedding": e.profile.model},
        }
        for e in entries
    ]
    shown = [
        row | {"id": row["id"][:8], "modules": " ".join(row["modules"]), "size": megabytes(row["bytes"])}
        for row in rows
    ]
    return Result({"adapters": rows}, table(shown, COLUMNS) if rows else f"No adapter is kept in {folder(shell)}.")


async def info(ctx: typer.Context, adapter: Adapter, base: Base = None, as_json: Json = False):
    """Show what is known of an adapter.

    Base, rank, modules, size, checksum and signature; with --base, whether it fits that model.
    """
    from ..adapter_pool import base_header, find, fit, summary, told, vouched

    shell, header = ctx.obj, base_header(base)
    found = await find(shell, adapter, header)
    signature, error = await vouched(shell, found)
    data = told(found) | {"signature": signature}
    if base:
        data["fit"], mismatch = fit(found, base, header)
        error = error or mismatch
    return Result(data, summary(data), error)


async def import_(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="A folder of PEFT, a zip of one, an adapter's JSON or GGUF file.")],
    name: Annotated[str | None, typer.Option(help="Name to keep it under (else its own).")] = None,
    base: Annotated[
        str | None, typer.Option(help="GGUF file of the base model: the adapter must fit it. GGUF adapters need it.")
    ] = None,
    as_json: Json = False,
):
    """Keep a copy of an adapter. A signature that does not fit is refused."""
    from ...lora.adapter import for_base
    from ..adapter_files import read_adapter
    from ..adapter_pool import base_header, changing, told, vouched

    shell, header = ctx.obj, base_header(base)
    found = read_adapter(shell, source, header)
    signature, error = await vouched(shell, found)
    if error:
        raise error
    if header:
        found = for_base(found, header)
        signature, _ = await vouched(shell, found)
    if name is not None:
        found = found.renamed(name)
    async with changing(shell) as pool:
        entry = await pool.add(found)
    data = told(found) | {"signature": signature}
    return Result(data, f"Kept as {entry.name!r} ({entry.id}): rank {entry.rank}, {megabytes(entry.bytes)}.")


async def export(
    ctx: typer.Context,
    adapter: Kept,
    output: Annotated[str, typer.Option(help="Folder for PEFT's files, or a .json or .gguf file.")],
    as_: Annotated[
        str | None, typer.Option("--format", help="peft, json or gguf (else by the output's ending).")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="GGUF file of the base model; a GGUF adapter is written for it.")
    ] = None,
    sign: Annotated[bool, typer.Option("--sign", help="Sign it with your key.")] = False,
    key: Key = None,
    as_json: Json = False,
):
    """Write a kept adapter in a form that others read.

    PEFT's folder, one JSON document, or a GGUF adapter for llama.cpp.
    """
    from ...lora import signature
    from ..adapter_files import write_files
    from ..adapter_pool import base_header, opened

    shell, path, header = ctx.obj, Path(output), base_header(base)
    kind = _kind(as_, path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise AdapterExists(f"{path} is there already. Choose another --output, or remove it first.", path=output)
    pool = await opened(shell)
    entry, found = pool.find(adapter), await pool.get(adapter)
    if sign:
        found = await signature.sign(found, shell.signer(key), shell.host)
    files = _written(found, entry, kind, header)
    write_files(shell, {path / name: content for name, content in files.items()})
    data = {
        "path": output,
        "format": kind,
        "id": found.id,
        "bytes": sum(map(len, files.values())),
        "signed": bool(found.signature),
    }
    return Result(data, f"{found.name!r} is in {output} ({kind}, {megabytes(data['bytes'])}).")


def _kind(given: str | None, path: Path) -> str:
    kind = given or FORMATS.get(path.suffix.lower(), "peft")
    if kind not in ("peft", *FORMATS.values()):
        raise InvalidOption(f"--format must be one of peft, json, gguf; found {given!r}.", option="format")
    return kind


def _written(adapter, entry, kind: str, header) -> dict[str, bytes]:
    """{file in the output's folder, "" for the output itself: bytes}."""
    from ...lora import document, gguf, peft

    if kind == "gguf" and header is None:
        raise InvalidOption(
            "A GGUF adapter has the rows of its base's file: give that with --base MODEL.gguf.", option="base"
        )
    make = {
        "peft": lambda: peft.write(adapter),
        "json": lambda: {"": document.exported(adapter, entry.created, entry.metrics)},
        "gguf": lambda: {"": b"".join(gguf.write(adapter, header))},
    }
    return make[kind]()


async def rename(
    ctx: typer.Context,
    adapter: Kept,
    name: Annotated[str, typer.Argument(help="The new name.")],
    as_json: Json = False,
):
    """Give a kept adapter another name; its id and its signature stay."""
    from ..adapter_pool import changing

    async with changing(ctx.obj) as pool:
        before = pool.find(adapter)
        entry = await pool.rename(before.id, name)
    return Result({"id": entry.id, "name": entry.name}, f"{before.name!r} is called {entry.name!r} now.")


async def remove(
    ctx: typer.Context,
    adapters: Annotated[list[str], typer.Argument(help="Names or ids of kept adapters.")],
    as_json: Json = False,
):
    """Remove kept adapters. What was exported stays where it is."""
    from ..adapter_pool import changing

    async with changing(ctx.obj) as pool:
        ids = dict.fromkeys(pool.find(ref).id for ref in adapters)  # all are found before one goes
        gone = [await pool.remove(id) for id in ids]
    freed = sum(entry.bytes for entry in gone)
    names = [entry.name for entry in gone]
    return Result({"removed": names, "freed": freed}, f"Removed {', '.join(names)}; {megabytes(freed)} freed.")


async def describe(
    ctx: typer.Context,
    adapter: Kept,
    texts: Annotated[
        list[str], typer.Argument(help="Files and folders of texts like those that the adapter was trained on.")
    ],
    model: Embedding = DEFAULT_MODEL,
    as_json: Json = False,
):
    """Say what a kept adapter was trained on.

    `run --adapter auto` knows by that which requests are for it. A sample of the texts becomes one
    vector, which is kept with the beginnings of a few of them; neither goes into what is exported.
    """
    from ..routing import describe as described

    entry = await described(ctx.obj, adapter, texts, model)
    if not entry.base_id:
        ctx.obj.say(f"notice: {entry.name} names no base; import it again with --base, so that it can be chosen.")
    profile = entry.profile
    data = {"id": entry.id, "name": entry.name, "texts": profile.count, "embedding": profile.model}
    return Result(data, f"{entry.name!r} is described by {counted(profile.count, 'passage')} ({profile.model}).")
