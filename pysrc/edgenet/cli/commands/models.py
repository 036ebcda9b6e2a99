"""`list` and `info`: what a site offers and what is known of one model. Imports nothing heavy until called."""

from typing import Annotated

import typer

from ...errors import ModelNotFound
from .. import gguf_info
from ..shell import Json, Result, command
from ..text import megabytes, table

COLUMNS = {
    "id": "MODEL",
    "version": "VERSION",
    "type": "TYPE",
    "quantization": "QUANTIZATION",
    "sizeText": "SIZE",
    "cached": "CACHED",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(
        app,
        "list",
        "--site http://localhost:8000 list",
        "list --type embedding --quantization INT8",
        "list --cached --json",
    )(list_)
    command(
        app,
        "info",
        "info minilm-l6-v2-q8",
        "info minilm-l6-v2-q8 --benchmarks",
        "info minilm-l6-v2-q8 --requirements --json",
        "info ./model-q4_0.gguf --context 4096",
        "info ./model-q4_0.gguf --tensors --json",
        "info hf:owner/name/model-q4_0.gguf",
    )(info)


async def list_(
    ctx: typer.Context,
    type_: Annotated[str | None, typer.Option("--type", help="Only models of this type, such as embedding.")] = None,
    quantization: Annotated[str | None, typer.Option(help="Only this quantization, such as INT8.")] = None,
    cached: Annotated[bool, typer.Option("--cached", help="Only what the local cache holds; asks no site.")] = False,
    as_json: Json = False,
):
    """List the models of the site, or of the local cache."""
    shell = ctx.obj
    rows = local_rows(shell) if cached else await site_rows(shell)
    rows = [
        row
        for row in rows
        if type_ in (None, row["type"]) and (quantization or row["quantization"]).upper() == row["quantization"].upper()
    ]
    rows.sort(key=_order(shell.config))
    data = [{key: value for key, value in row.items() if key != "sizeText"} for row in rows]
    return Result({"models": data}, table(rows, COLUMNS) if rows else "No model fits. Leave filters out to see all.")


async def site_rows(shell) -> list[dict]:
    """Rows of the site's index; `cached` says whether the whole model is here."""
    async with shell.http() as http:
        found = await shell.site(http).models()
    return [_row(shell, row) for row in found]


def local_rows(shell) -> list[dict]:
    """The same rows, from the cache."""
    from ...registry.publish import index_row

    return [_row(shell, index_row(model.manifest)) for model in shell.store.models()]


def _row(shell, row: dict) -> dict:
    held = shell.store.find(row["id"], row["version"])
    state = "no" if held is None else "yes" if shell.store.complete(held) else "in part"
    size = row.get("size", 0)
    return {
        "id": row["id"],
        "version": row["version"],
        "name": row.get("name", ""),
        "type": row.get("type", "unknown"),
        "quantization": row.get("quantization", "unknown"),
        "size": size,
        "sizeText": megabytes(size),
        "cached": state,
    }


def _order(config):
    wanted, small = config["preferences.preferQuantization"].upper(), config["preferences.preferSmallModels"]
    return lambda row: (row["quantization"].upper() != wanted, row["size"] if small else 0, row["id"], row["version"])


async def info(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Id of the model, a GGUF file, or hf:owner/name/file.gguf.")],
    version: Annotated[str | None, typer.Option(help="This version, else the newest.")] = None,
    benchmarks: Annotated[bool, typer.Option("--benchmarks", help="Only the benchmarks.")] = False,
    requirements: Annotated[bool, typer.Option("--requirements", help="Only the requirements.")] = False,
    tensors: Annotated[bool, typer.Option("--tensors", help="Also every tensor of a GGUF model.")] = False,
    context: Annotated[
        int, typer.Option(min=0, help="Tokens that a GGUF model's memory is told for (0: 2048, or fewer).")
    ] = 0,
    kv: Annotated[str, typer.Option(help="How keys and values are kept then: f32, q8 or q4.")] = "f32",
    as_json: Json = False,
):
    """Show what is known of a model, or of a GGUF file.

    The manifest is that of the cache or, if it is not there, of the site; of a GGUF file, also on a hub, its header tells."""
    from ...sources.hub import PREFIX
    from ..hub import hub_header

    shell = ctx.obj
    if model.startswith(PREFIX) or model.lower().endswith(".gguf"):
        header = await hub_header(shell, model) if model.startswith(PREFIX) else gguf_info.header_of_file(model)
        data, text = _gguf(header, tensors, context, kv)
        return Result(data, text)
    manifest, url, state = await _manifest(shell, model, version)
    picked = [name for name, wanted in (("benchmarks", benchmarks), ("requirements", requirements)) if wanted]
    if picked:
        data = {name: manifest.get(name, {}) for name in picked}
        return Result(data, "\n".join(_section(name, data[name]) for name in picked))
    data, text = {"manifest": manifest, "url": url, "state": state}, _summary(manifest, url, state)
    held = shell.store.find(manifest["id"], manifest["version"])
    if held and (header := gguf_info.header_of_model(shell, held)):
        data["gguf"], more = _gguf(header, tensors, context, kv)
        text += f"\n\n{more}"
    return Result(data, text)


def _gguf(header, tensors: bool, context: int, kv: str) -> tuple[dict, str]:
    """What a GGUF header tells, as data and as text."""
    data = gguf_info.told(header, context, kv)
    rows = gguf_info.tensors(header) if tensors else None
    return data | ({} if rows is None else {"tensorList": rows}), gguf_info.summary(data, rows)


async def _manifest(shell, model: str, version: str | None) -> tuple[dict, str, str]:
    held = shell.store.find(model, version)
    if held:
        return (
            held.manifest,
            held.url,
            f"{held.state}, {'complete' if shell.store.complete(held) else 'in part'} in the cache",
        )
    if not shell.has_site:
        raise ModelNotFound(
            f"{model} is not in the cache, and no site is set to look at. Name one with --site ADDRESS.", id=model
        )
    async with shell.http() as http:
        site = shell.site(http)
        manifest, url = await site.manifest(await site.row(model, version))
    return manifest, url, "not pulled; its signature is judged when it is"


def _summary(manifest: dict, url: str, state: str) -> str:
    from ...manifest import total_size

    lines = [
        f"{manifest['id']} {manifest['version']}: {manifest['name']}",
        f"  type        {manifest['type']}",
        f"  size        {megabytes(total_size(manifest))}",
        f"  state       {state}",
        f"  from        {url}",
        f"  signed by   {manifest.get('signature', {}).get('keyId', 'nobody')}",
    ]
    lines += [
        f"  {name:<11} {manifest[name]}"
        for name in ("license", "homepage", "publishedAt", "publishedBy", "expiresAt")
        if name in manifest
    ]
    files = [
        {"file": a["filename"], "size": megabytes(a["size"]), "sha256": a["sha256"], "cid": a.get("cid")}
        for a in manifest["artifacts"].values()
    ]
    lines += ["", table(files, {"file": "FILE", "size": "SIZE", "sha256": "SHA-256", "cid": "CID"})]
    sections = [
        _section(name, manifest[name])
        for name in ("architecture", "optimization", "requirements", "benchmarks")
        if manifest.get(name)
    ]
    return "\n".join([*lines, "", *sections])


def _section(name: str, values: dict, indent: str = "") -> str:
    lines = [f"{indent}{name}"]
    for key, value in values.items():
        lines.append(_section(key, value, indent + "  ") if isinstance(value, dict) else f"{indent}  {key:<16} {value}")
    return "\n".join(lines if values else [f"{indent}{name}: the manifest states none"])
