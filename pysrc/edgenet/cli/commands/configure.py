"""`config show`, `config get`, `config set`. Imports nothing heavy until called."""

from typing import Annotated

import typer

from ..shell import Json, Result, command
from ..text import table


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Show and change ~/.edge-net/models.yaml.", no_args_is_help=True, rich_markup_mode=None)
    command(group, "show", "config show", "config show --json")(show)
    command(group, "get", "config get cache.directory")(get)
    command(
        group,
        "set",
        "config set cdn.endpoint http://localhost:8000",
        "config set defaultSource ipfs",
        "config set cacheDir ~/.edge-net/models",
        "config set cache.maxSize 2GB",
    )(set_)
    app.add_typer(group, name="config")


def show(ctx: typer.Context, as_json: Json = False):
    """Show every option, its value and what it means."""
    from ..options import OPTIONS

    config = ctx.obj.config
    rows = [
        {"name": o.name, "value": _text(config[o.name]), "set": o.name in config.given, "help": o.help} for o in OPTIONS
    ]
    text = table(rows, {"name": "OPTION", "value": "VALUE", "set": "SET", "help": "MEANING"})
    return Result(
        {"file": str(config.path), "values": config.all(), "set": sorted(config.given)}, f"{config.path}\n\n{text}"
    )


def get(ctx: typer.Context, name: Annotated[str, typer.Argument(help="Name of the option.")], as_json: Json = False):
    """Print one option's value."""
    from ..config import option

    row = option(name)
    value = ctx.obj.config[row.name]
    return Result({"name": row.name, "value": value}, _text(value))


def set_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the option.")],
    value: Annotated[str, typer.Argument(help="Its new value.")],
    as_json: Json = False,
):
    """Set one option; everything else in the file stays."""
    from ..config import option, save

    shell = ctx.obj
    fresh = save(shell.config, name, value, shell.disk)
    row = option(name)
    return Result(
        {"name": row.name, "value": fresh[row.name], "file": str(fresh.path)}, f"{row.name} = {_text(fresh[row.name])}"
    )


def _text(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)
