"""`cache info`, `cache clear`, `cache prune`. Imports nothing heavy until called."""

from typing import Annotated

import typer

from ...errors import InvalidOption
from ..shell import Json, Result, command
from ..text import megabytes, table

COLUMNS = {
    "id": "MODEL",
    "version": "VERSION",
    "state": "SIGNATURE",
    "heldText": "HELD",
    "complete": "COMPLETE",
    "lastUsed": "LAST USED",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Look at and empty the local model cache.", no_args_is_help=True, rich_markup_mode=None)
    command(group, "info", "cache info", "cache info --json")(info)
    command(group, "clear", "cache clear", "cache clear --older-than 30d", "cache clear minilm-l6-v2-q8")(clear)
    command(group, "prune", "cache prune")(prune)
    app.add_typer(group, name="cache")


def info(ctx: typer.Context, as_json: Json = False):
    """Show what the cache holds, where, and how much room it takes."""
    shell = ctx.obj
    rows = [_row(shell.store, model) for model in shell.store.models()]
    data = {
        "directory": str(shell.store.folder),
        "bytes": shell.store.total(),
        "limit": shell.config.cache_limit,
        "free": shell.disk.free(shell.store.folder),
        "models": [{k: v for k, v in row.items() if k != "heldText"} for row in rows],
    }
    limit = f"limit {shell.config['cache.maxSize']}" if data["limit"] is not None else "no limit"
    head = f"{data['directory']}: {megabytes(data['bytes'])} ({limit}, {megabytes(data['free'])} free on the disk)"
    return Result(data, head + ("\n\n" + table(rows, COLUMNS) if rows else "\nNo model is cached."))


def _row(store, model) -> dict:
    held = store.bytes_of(model)
    return {
        "id": model.manifest["id"],
        "version": model.manifest["version"],
        "state": model.state,
        "bytes": held,
        "heldText": megabytes(held),
        "complete": store.complete(model),
        "lastUsed": model.last_used,
        "url": model.url,
    }


def clear(
    ctx: typer.Context,
    model: Annotated[str | None, typer.Argument(help="Only this model, all its versions.")] = None,
    older_than: Annotated[str | None, typer.Option(help="Only models not used for this long: 30d, 12h, 2w.")] = None,
    as_json: Json = False,
):
    """Remove models from the cache."""
    shell = ctx.obj
    limit = _moment(shell, older_than)
    gone, freed = [], 0
    for held in shell.store.models():
        if model in (None, held.manifest["id"]) and (limit is None or held.last_used < limit):
            freed += shell.store.remove(held)
            gone.append(held.key)
    if model is None and older_than is None:
        freed += shell.store.sweep() + shell.store.drop_incoming()
        shell.disk.remove(shell.store.folder / "index")
    return _freed(gone, freed)


def _moment(shell, older_than: str | None) -> str | None:
    from ...fields import time_text
    from ..options import parse_age

    if older_than is None:
        return None
    try:
        return time_text(max(0.0, shell.host.now() - parse_age(older_than)))
    except ValueError as error:
        raise InvalidOption(f"--older-than must be {error}; found {older_than!r}.", option="older-than") from error


def prune(ctx: typer.Context, as_json: Json = False):
    """Remove what is of no use.

    That is: half-fetched models, files that no model names, and models beyond cache.maxSize.
    """
    shell = ctx.obj
    gone, freed = [], 0
    for held in shell.store.models():
        if not shell.store.complete(held):
            freed += shell.store.remove(held)
            gone.append(held.key)
    freed += shell.store.sweep() + shell.store.drop_incoming()
    if shell.config.cache_limit is not None:
        before = shell.store.total()
        gone += [held.key for held in shell.store.evict(shell.config.cache_limit)]
        freed += before - shell.store.total()
    return _freed(gone, freed)


def _freed(gone: list[str], freed: int) -> Result:
    return Result(
        {"removed": gone, "freed": freed}, f"Removed {', '.join(gone) or 'no model'}; {megabytes(freed)} freed."
    )
