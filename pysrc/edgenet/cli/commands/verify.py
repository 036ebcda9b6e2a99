"""`verify`: are the bytes still what the manifest says, and is its signature good. Imports nothing heavy until called."""

from pathlib import Path
from typing import Annotated

import typer

from ...errors import HashMismatch, InvalidOption, NotCached
from ..shell import Json, Result, command
from ..text import table

COLUMNS = {"file": "FILE", "chunks": "CHUNKS", "wrongCount": "WRONG", "missingCount": "MISSING"}


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(
        app,
        "verify",
        "verify minilm-l6-v2-q8",
        "verify minilm-l6-v2-q8 --check-signature",
        "verify minilm-l6-v2-q8 --repair",
        "verify ./models/minilm-l6-v2-q8/1.0.0",
    )(verify)


async def verify(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Id of a cached model, or a folder with a manifest.json.")],
    version: Annotated[str | None, typer.Option(help="This version, else the newest cached.")] = None,
    check_signature: Annotated[
        bool, typer.Option("--check-signature", help="Also judge the signature, key and revocations anew.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Fetch wrong and missing chunks again from the site.")
    ] = False,
    as_json: Json = False,
):
    """Hash a model's bytes again and compare them with its manifest. Ends with status 4 if anything is wrong."""
    shell = ctx.obj
    if "/" in model or "\\" in model or Path(model, "manifest.json").is_file():
        return await _folder(shell, Path(model), check_signature, repair)
    held = shell.store.find(model, version)
    if held is None:
        raise NotCached(
            f"{model}{' ' + version if version else ''} is not in the cache. `edge-net-models list --cached` shows what is.",
            id=model,
            version=version,
        )
    key = await _signature(shell, held.manifest, held.url) if check_signature else None
    async with shell.http() as http:
        rows, repaired = await _check(shell, http, held, repair)
    return _result(held.manifest, rows, key, repaired)


async def _check(shell, http, held, repair: bool) -> tuple[list[dict], int]:
    """Rows of what is wrong at the end, and how many chunks were repaired before."""
    from ...registry.hub_manifest import address_of
    from ...registry.pull import Puller
    from ..fetching import options, pull_again, pull_model

    puller = Puller(shell.store, http, options(shell, None, None))
    rows = await puller.check(held)
    bad = sum(len(row["wrong"]) + len(row["missing"]) for row in rows)
    if not (repair and bad):
        return rows, 0
    puller.forget(held, rows)
    if shell.has_site and not address_of(held):
        await pull_model(shell, held.manifest["id"], held.manifest["version"], allow_unsigned=held.state == "unsigned")
    else:
        await pull_again(shell, held)
    return await puller.check(held), bad


async def _folder(shell, folder: Path, check_signature: bool, repair: bool) -> Result:
    from ...manifest import parse
    from ...registry.signing import check_folder

    path = folder if folder.is_file() else folder / "manifest.json"
    data = shell.disk.read(path)
    if data is None:
        raise InvalidOption(
            f"There is no {path}. Give a model's id, or a folder that holds its manifest.json.", path=str(path)
        )
    if repair:
        raise InvalidOption("--repair works on the cache only; `edge-net-models pull … --output` makes a folder anew.")
    manifest = parse(data)
    key = await _signature(shell, manifest, path.absolute().as_uri()) if check_signature else None
    return _result(manifest, check_folder(path.parent, manifest), key, 0)


async def _signature(shell, manifest: dict, url: str) -> str:
    """The id of the key whose signature holds now. Raises a TrustError. Without --site the site that the model came from is asked."""
    from ...registry.site import Site

    known = next((row["site"] for row in shell.book.sites() if url.startswith(row["site"])), None)
    async with shell.http() as http:
        site = Site(known, http) if known and not shell.site_given else shell.site(http)
        return (await shell.book.accept(manifest, site)).key_id


def _result(manifest: dict, rows: list[dict], key: str | None, repaired: int) -> Result:
    rows = [row | {"wrongCount": len(row["wrong"]), "missingCount": len(row["missing"])} for row in rows]
    bad = sum(row["wrongCount"] + row["missingCount"] for row in rows)
    name = f"{manifest['id']} {manifest['version']}"
    data = {
        "id": manifest["id"],
        "version": manifest["version"],
        "ok": not bad,
        "files": rows,
        "repaired": repaired,
        "signedBy": key,
    }
    lines = [
        table(rows, COLUMNS),
        "",
        f"{name}: " + ("every byte is right." if not bad else f"{bad} chunks are wrong or missing."),
    ]
    lines += [f"Repaired: {repaired} chunks."] * bool(repaired) + [f"Signature: valid, by the key {key}."] * bool(key)
    error = (
        HashMismatch(
            f"{name}: {bad} chunks are wrong or missing. Run `edge-net-models verify {manifest['id']} --repair`.",
            id=manifest["id"],
            wrong=bad,
        )
        if bad
        else None
    )
    return Result(data, "\n".join(lines), error)
