"""`keys`: make signing keys, and say whom to believe. Imports nothing heavy until called."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ...errors import InvalidOption, KeyInvalid
from ..shell import Json, Result, command
from ..text import table

COLUMNS = {"keyId": "KEY", "from": "FROM", "notAfter": "VALID UNTIL", "capabilities": "MAY", "revoked": "REVOKED"}
Key = Annotated[str | None, typer.Option("--key", help="PEM file of the private key (else `signing.keyPath`).")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        help="Signing keys, and whose signatures are believed.", no_args_is_help=True, rich_markup_mode=None
    )
    command(group, "generate", "keys generate", "keys generate --key ./publisher.pem")(generate)
    command(group, "list", "keys list", "keys list --json")(list_)
    command(group, "show", "keys show", "keys show 1f3a")(show)
    command(group, "trust", "--site http://localhost:8000 keys trust", "keys trust ./publisher.json")(trust)
    command(
        group,
        "revoke",
        "keys revoke 1f3a5c7e9b2d4f60",
        "keys revoke 1f3a5c7e9b2d4f60 --publish ./site",
        "keys revoke --model my-model@1.0.0 --publish ./site",
    )(revoke)
    app.add_typer(group, name="keys")


def generate(ctx: typer.Context, key: Key = None, as_json: Json = False):
    """Make a new Ed25519 signing key. A key that is there is never overwritten."""
    from ..signing import generate as generate_key
    from ..signing import key_path

    shell = ctx.obj
    entry, path = generate_key(shell, key), key_path(shell, key)
    text = f"New key {entry['keyId']} in {path} (mode 0600). Keep it secret and keep a copy.\nPublic half: {entry['publicKey']}"
    return Result({"path": str(path), **entry}, text)


def list_(ctx: typer.Context, as_json: Json = False):
    """List the keys that are believed, and since which site."""
    rows = ctx.obj.book.keys()
    shown = [row | {"capabilities": " ".join(row["capabilities"])} for row in rows]
    return Result(
        {"keys": rows},
        table(shown, COLUMNS) if rows else "No key is believed yet; the first pull from a site adds its keys.",
    )


def show(
    ctx: typer.Context,
    key_id: Annotated[
        str | None, typer.Argument(help="Beginning of a key id; without it, your own signing key.")
    ] = None,
    key: Key = None,
    as_json: Json = False,
):
    """Show one key's public half, ready to hand to readers.

    It is printed as an entry of trust.json.
    """
    from ...registry.site_keys import trust_entry
    from ..signing import dates

    shell = ctx.obj
    row = shell.book.key(key_id) if key_id else trust_entry(shell.signer(key).public_key, dates(shell, key))
    return Result(row, json.dumps(row, indent=1))


async def trust(
    ctx: typer.Context,
    entry: Annotated[
        str | None,
        typer.Argument(
            help="File with an entry of trust.json or a whole one (as `keys show` prints). "
            "Without it: the keys that the site serves now."
        ),
    ] = None,
    as_json: Json = False,
):
    """Believe a publisher's key, or a site's present keys.

    A publisher's key counts for every site, a site's present keys for that site.
    """
    shell = ctx.obj
    if entry is None:
        async with shell.http() as http:
            keys = await shell.book.trust_site(shell.site(http))
        where = shell.site_url
    else:
        keys, where = _entries(shell, Path(entry)), "every site"
        shell.book.trust_keys(keys)
    names = [key["keyId"] for key in keys]
    return Result({"trusted": names, "for": where}, f"Believed for {where}: {', '.join(names)}")


def _entries(shell, path: Path) -> list[dict]:
    data = shell.disk.read(path)
    try:
        document = json.loads(data or b"")
        rows = document["keys"] if "keys" in document else [document]
        return [
            {name: row[name] for name in ("keyId", "publicKey", "notBefore", "notAfter", "capabilities")}
            for row in rows
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise KeyInvalid(
            f"{path} holds no trust.json and no entry of one{'' if data else ' (there is no such file)'}. The publisher makes one "
            "with `edge-net-models keys show`.",
            path=str(path),
        ) from error


async def revoke(
    ctx: typer.Context,
    key_id: Annotated[str | None, typer.Argument(help="Id of the key.")] = None,
    publish: Annotated[
        str | None, typer.Option(help="Folder of a site: sign a new revocations.json there, for all its readers.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Withdraw this model version instead, as id@version; needs --publish.")
    ] = None,
    key: Key = None,
    as_json: Json = False,
):
    """Believe a key no more.

    With --publish, every reader of your site is told.
    """
    shell = ctx.obj
    pair = _pair(model, publish)
    if key_id is None and pair is None:
        raise InvalidOption("Name a key id, or a model with --model id@version.")
    name = _whole_id(shell, key_id) if key_id else None
    if publish is not None:
        from ...registry.site_keys import revoke as revoke_at
        from ..signing import dates

        keys, models = ([name] if name else []), ([pair] if pair else [])
        listed = await revoke_at(
            Path(publish), shell.signer(key), dates(shell, key), shell.host, shell.disk, keys, models
        )
        return Result(
            listed,
            f"{publish}/revocations.json: number {listed['sequence']}, {len(listed['keys'])} keys, "
            f"{len(listed['manifests'])} model versions.",
        )
    shell.book.revoke_key(name)
    return Result(
        {"revoked": [name]}, f"{name} is believed no more here. `edge-net-models keys trust` takes that back."
    )


def _whole_id(shell, key_id: str) -> str:
    from ...fields import KEY_ID

    return key_id if KEY_ID.test(key_id) else shell.book.key(key_id)["keyId"]


def _pair(model: str | None, publish: str | None) -> tuple[str, str] | None:
    if model is None:
        return None
    name, found, version = model.partition("@")
    if not (name and found and version and publish):
        raise InvalidOption(f"--model must be id@version and needs --publish FOLDER; found {model!r}.", option="model")
    return name, version
