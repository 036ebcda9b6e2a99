"""What every command shares: where things are, how results and failures come out. CPython.

A command returns a `Result`; `guard` prints it (as text or, with --json, as one JSON document) and turns every EdgeNetError into its
exit status. Nothing heavy is imported here.
"""

import asyncio
import inspect
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import Annotated

import typer

from ..errors import AbortError, EdgeNetError
from .config import DEFAULT_PATH
from .text import printable

BROKEN_PIPE = 141
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@dataclass
class Result:
    """What a command found: JSON data, the same as text, and the failure that it ends with, if any."""

    data: object
    text: str = ""
    error: EdgeNetError | None = None


class Shell:
    """One invocation: options given before the command, and the things made from them, each on first use."""

    def __init__(self, config_path: str | None = None, site: str | None = None, quiet: bool = False, disk=None):
        self.config_path, self.site_given, self.quiet, self.json = config_path, site, quiet, False
        self.notices: list[dict] = []  # `{code, message}`, for commands whose JSON data has them
        self._disk = disk

    @cached_property
    def disk(self):
        """Files of this machine."""
        from ..host.files import Disk

        return self._disk or Disk()

    @cached_property
    def config(self):
        """The configuration file's values."""
        from .config import load

        return load(Path(self.config_path or DEFAULT_PATH).expanduser().absolute(), self.disk)

    @cached_property
    def host(self):
        """Clock, randomness and Ed25519."""
        from ..host.cpython import CPythonHost

        return CPythonHost()

    @cached_property
    def store(self):
        """The model cache."""
        from ..fields import time_text
        from ..registry.store import Store

        return Store(self.config.folder("cache.directory"), self.disk, lambda: time_text(self.host.now()))

    @cached_property
    def book(self):
        """Whom the user believes."""
        from ..registry.accept import TrustBook

        return TrustBook(self.config.home, self.disk, self.host, self.host.verify_ed25519, self.say_event)

    @property
    def site_url(self) -> str:
        """The site's base address. Raises NoSite."""
        from ..registry.site import site_url

        return site_url(self.site_given if self.site_given is not None else self.config["cdn.endpoint"])

    @property
    def has_site(self) -> bool:
        """Whether a site was named at all."""
        return bool(self.site_given or self.config["cdn.endpoint"])

    def http(self):
        """Async context manager that opens addresses."""
        from ..host.http import Http

        return Http(self.config["cdn.timeout"] / 1000)

    def site(self, opener):
        """The site, read through `opener`."""
        from ..registry.site import Site

        return Site(self.site_url, opener)

    def signer(self, key: str | None):
        """The key that signs: `--key`, else the configured one. Raises KeyNotFound, KeyInvalid or KeyUntrusted."""
        from .signing import signer

        return signer(self, key)

    # --- output ------------------------------------------------------------------------------------------------------
    def say(self, text: str) -> None:
        """A line for people, on stderr."""
        if not self.quiet:
            print(printable(text), file=sys.stderr, flush=True)

    def notice(self, notice: dict) -> None:
        """Say a `{code, message}`, and keep it in `notices`."""
        self.notices.append(notice)
        self.say(f"notice: {notice['message']}")

    def say_event(self, event: dict) -> None:
        """Fallbacks and notices as lines; progress is the progress bar's matter."""
        if event["status"] in ("fallback", "notice"):
            self.say(f"{event['status']}: {event['reason']}")

    def show(self, result: Result) -> None:
        """Print a result on stdout."""
        if self.json:
            data = result.data if result.error is None else {**result.data, "error": result.error.to_data()}
            print(json.dumps(data, ensure_ascii=False))
        elif result.text:
            print(printable(result.text))

    def fail(self, error: EdgeNetError) -> None:
        """Print a failure: always as a line on stderr, with --json also as data on stdout."""
        if self.json:
            print(json.dumps({"error": error.to_data()}, ensure_ascii=False))
        _print_error(error)


def _print_error(error: EdgeNetError) -> None:
    print(printable(f"error: {error.message} [{error.code}]"), file=sys.stderr)


def guard(shell: Shell, function: Callable) -> None:
    """Run a command's body and leave by its exit status."""
    try:
        answer = function()
        result = asyncio.run(answer) if inspect.iscoroutine(answer) else answer
        shell.show(result)
        sys.stdout.flush()
        if result.error is not None:
            _print_error(result.error)
            raise typer.Exit(result.error.exit_status)
    except EdgeNetError as error:
        shell.fail(error)
        raise typer.Exit(error.exit_status) from error
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        stopped = AbortError(
            "Stopped. What a download has verified is kept: run the same command again to go on from there."
        )
        shell.fail(stopped)
        raise typer.Exit(stopped.exit_status) from error
    except BrokenPipeError as error:  # the reader of our output left: nothing to tell anybody
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from error


def command(group: typer.Typer, name: str, *examples: str):
    """Register a function as a command. Its first parameter is the typer.Context, whose `obj` is the Shell."""
    epilog = "\b\nExamples:\n" + "\n".join(f"  edge-net-models {line}" for line in examples)

    def register(function):
        @wraps(function)
        def guarded(ctx: typer.Context, **given):
            ctx.obj.json = given.get("as_json", False)
            guard(ctx.obj, lambda: function(ctx, **given))

        group.command(name, epilog=epilog)(guarded)
        return function

    return register
