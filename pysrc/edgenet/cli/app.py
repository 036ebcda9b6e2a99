"""The command tree: options before the command, and where each command is registered. CPython; imports nothing heavy."""

from typing import Annotated

import typer
from typer.core import TyperGroup

from .. import __version__
from .commands import (
    adapters,
    cache,
    compile,
    configure,
    embed,
    kernels,
    keys,
    models,
    publish,
    pull,
    run,
    search,
    train,
    verify,
)
from .shell import Shell

BEFORE = ("--site", "--config", "--quiet", "-q")  # options of the program itself, which go before the command
UsageError = typer.BadParameter.__mro__[1]  # click's, or that of the click that typer carries


class _Top(TyperGroup):
    """Tells whoever writes `run --quiet` where `--quiet` goes."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except UsageError as error:
            if (name := getattr(error, "option_name", None)) in BEFORE:
                example = f"edge-net-models {name}{'' if name in BEFORE[2:] else ' …'} {ctx.invoked_subcommand} …"
                error.message, error.possibilities = f"{name} goes before the command: {example}", None
            raise


app = typer.Typer(
    cls=_Top,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="\b\nStart here:\n  edge-net-models --site http://localhost:8000 list\n"
    "  edge-net-models --site http://localhost:8000 pull minilm-l6-v2-q8\n"
    '  edge-net-models search ./notes "when is the heating serviced"',
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"edge-net-models {__version__}")
        raise typer.Exit


@app.callback()
def top(
    ctx: typer.Context,
    site: Annotated[
        str | None, typer.Option(help="Address or folder that models come from (else `cdn.endpoint`).")
    ] = None,
    config: Annotated[str | None, typer.Option(help="Configuration file (else ~/.edge-net/models.yaml).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notices on stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
):
    """Find, pull, verify, sign and publish EdgeNet models, and search your own texts by meaning with them."""
    disk = ctx.obj.disk if ctx.obj else None
    ctx.obj = Shell(config, site, quiet, disk)


for module in (
    models,
    pull,
    verify,
    keys,
    publish,
    cache,
    configure,
    embed,
    search,
    run,
    train,
    adapters,
    compile,
    kernels,
):
    module.register(app)
