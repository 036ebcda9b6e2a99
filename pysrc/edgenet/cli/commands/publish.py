"""`publish` and `sign`. Imports nothing heavy until called."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ...errors import InvalidOption
from ..shell import Json, Result, command
from ..text import megabytes
from .keys import Key


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(
        app,
        "publish",
        "publish ./my-model-q8.onnx ./tokenizer.json --name my-model --version 1.0.0 --type embedding --output ./site",
        "publish ./my-model --name my-model --version 1.1.0 --template ./fields.json --output ./site --key ./publisher.pem",
    )(publish)
    command(
        app, "sign", "sign ./site/models/my-model/1.0.0/manifest.json", "sign ./my-model-q8.onnx --key ./publisher.pem"
    )(sign)


async def publish(
    ctx: typer.Context,
    files: Annotated[list[str], typer.Argument(help="The model's files (one .onnx among them), or a folder of them.")],
    name: Annotated[str, typer.Option(help="Name; the id is made from it unless --id is given.")],
    version: Annotated[str, typer.Option(help="Version, such as 1.0.0.")],
    output: Annotated[str, typer.Option(help="Folder of the site, made if it is not there.")],
    type_: Annotated[
        str | None, typer.Option("--type", help="Type, such as text-generation (else the template's, else embedding).")
    ] = None,
    model_id: Annotated[str | None, typer.Option("--id", help="Id of the model.")] = None,
    quantization: Annotated[str | None, typer.Option(help="Quantization, such as INT8.")] = None,
    license_: Annotated[str | None, typer.Option("--license", help="SPDX name of the licence.")] = None,
    template: Annotated[
        str | None, typer.Option(help="JSON file with further manifest fields (architecture, benchmarks, …).")
    ] = None,
    gateway: Annotated[
        list[str] | None, typer.Option(help="IPFS gateway to name as a second source; may be repeated.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a version that is there.")] = False,
    key: Key = None,
    as_json: Json = False,
):
    """Make a signed model version, in a folder for a static host.

    Writes models/<id>/<version>/ with the manifest (chunk hashes, CIDs, signature), models/index.json and, in a new site, trust.json.
    A version appears whole or not at all.
    """
    shell = ctx.obj
    fields = _template(shell, template) | {"id": model_id or _slug(name), "name": name, "version": version}
    fields["type"] = type_ or fields.get("type", "embedding")
    if quantization:
        fields["optimization"] = {**fields.get("optimization", {}), "quantization": quantization}
    if license_:
        fields["license"] = license_
    return await _publish(shell, _paths(files), fields, Path(output), key, gateways=gateway or (), replace=replace)


async def _publish(shell, paths: list[Path], fields: dict, site: Path, key: str | None, **more) -> Result:
    from ...registry.publish import artifact_names
    from ...registry.publish import publish as publish_files
    from ..signing import dates

    named = artifact_names(paths)
    signer = shell.signer(key)
    made = await publish_files(named, fields, site, signer, dates(shell, key), shell.host, shell.disk, **more)
    name, size = made.manifest["id"], sum(a["size"] for a in made.manifest["artifacts"].values())
    text = (
        f"{name} {made.manifest['version']} ({megabytes(size)}) is in {made.folder}, signed by {made.key_id}.\n"
        f"Serve {site} by any static host; readers pull it with `edge-net-models --site ADDRESS pull {name}`."
    )
    return Result({"manifest": made.manifest, "folder": str(made.folder), "keyId": made.key_id}, text)


def _slug(name: str) -> str:
    import re

    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or name


def _paths(names: list[str]) -> list[Path]:
    paths = [Path(name) for name in names]
    if len(paths) == 1 and paths[0].is_dir():
        paths = sorted(
            path
            for path in paths[0].iterdir()
            if path.is_file() and not path.name.startswith(".") and path.name != "manifest.json"
        )
    missing = [str(path) for path in paths if not path.is_file()]
    if missing or not paths:
        raise InvalidOption(
            f"There is no file {', '.join(missing) or 'in ' + names[0]}. Name the model's files, or a folder that holds only them.",
            files=missing,
        )
    return paths


def _template(shell, path: str | None) -> dict:
    if path is None:
        return {}
    data = shell.disk.read(Path(path))
    if data is None:
        raise InvalidOption(f"--template {path}: there is no such file.", path=path)
    try:
        fields = json.loads(data)
        if not isinstance(fields, dict):
            raise ValueError("it is not an object")
    except ValueError as error:
        raise InvalidOption(f"--template {path} must be a file with one JSON object: {error}.", path=path) from error
    return {
        name: value
        for name, value in fields.items()
        if name not in ("artifacts", "sources", "signature", "schemaVersion")
    }


async def sign(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(help="A manifest.json, or a model file or folder with one beside or in it.")],
    key: Key = None,
    as_json: Json = False,
):
    """Sign a manifest in place.

    The files beside it are checked first: they must be the ones it describes.
    """
    from ...registry.signing import sign_file

    shell = ctx.obj
    manifest, where = await sign_file(Path(path), shell.signer(key), shell.host, shell.disk)
    signature = manifest["signature"]
    return Result(
        {"path": str(where), "signature": signature},
        f"{where} is signed by {signature['keyId']} at {signature['timestamp']}.",
    )
