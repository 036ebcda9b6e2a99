"""Turning model files into a folder that any static host can serve: manifest with chunk hashes and CIDs, signed, listed. CPython.

A version appears whole or not at all, and is never changed once there; `models/index.json` is replaced atomically.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import AlreadyPublished, InvalidOption, ModelInvalid
from ..fields import time_text
from ..integrity import describe
from ..manifest import key_id, parse, sign, total_size
from .site_keys import pretty, site_trust

# Well-known files and what a manifest calls them; a single .onnx file is the model, any other file is named by its stem.
NAMES = {"tokenizer.json": "tokenizer", "tokenizer_config.json": "tokenizerConfig", "config.json": "config"}


@dataclass(frozen=True)
class Published:
    """What `publish` made. `manifest` is signed; `folder` holds the version's files."""

    manifest: dict
    folder: Path
    key_id: str


def artifact_names(paths: list[Path]) -> dict[str, Path]:
    """Artifact name → file: the one .onnx file (or the only file) is `model`. Raises InvalidOption if that is not clear."""
    models = [path for path in paths if path.suffix == ".onnx"] or (paths if len(paths) == 1 else [])
    if len(models) != 1:
        raise InvalidOption(
            f"Expected exactly one .onnx file among {', '.join(p.name for p in paths) or 'no files'}; found "
            f"{len(models)}. Publish one model at a time.",
            found=[p.name for p in models],
        )
    rows = {"model": models[0]}
    for path in paths:
        name = "model" if path == models[0] else NAMES.get(path.name, path.stem.replace(".", "_"))
        if rows.setdefault(name, path) != path:
            raise InvalidOption(
                f"{path.name} and {rows[name].name} would both be called {name!r}; rename one.", name=name
            )
    return rows


def build_manifest(
    files: dict[str, Path], fields: dict, now: float, gateways: list[str]
) -> tuple[dict, dict[str, bytes]]:
    """(unsigned manifest, extra files by name) for artifact name → path. `fields` are the manifest's other fields.

    Raises a ManifestError if the fields do not make a valid one, ModelInvalid for an empty file.
    """
    artifacts, extra = {}, {}
    for name, path in files.items():
        if not path.stat().st_size:
            raise ModelInvalid(f"{path} is empty. Give the model's real file.", path=str(path))
        with path.open("rb") as stream:
            artifacts[name], leaves = describe(stream, path.name)
        if leaves is not None:
            extra[artifacts[name]["leavesFile"]["filename"]] = leaves
    sources = [{"type": "cdn", "priority": 1, "baseUrl": "./"}]
    if gateways:
        sources.append({"type": "ipfs", "priority": 3, "gateways": gateways})
    manifest = {"schemaVersion": 1, "artifacts": artifacts, "sources": sources, "publishedAt": time_text(now), **fields}
    manifest["optimization"] = {"optimizedSize": artifacts["model"]["size"], **fields.get("optimization", {})}
    manifest["requirements"] = {"minStorage": total_size(manifest), **fields.get("requirements", {})}
    return parse(manifest), extra


async def publish(
    files: dict[str, Path], fields: dict, site: Path, signer, dates: dict, clock, disk, *, gateways=(), replace=False
) -> Published:
    """Write a signed version into `site`. `dates`: validity of the signing key, for a new `trust.json`.

    Raises AlreadyPublished, KeyUntrusted, a ManifestError or a StorageError; then no reader sees a change.
    """
    manifest, extra = build_manifest(files, fields, clock.now(), list(gateways))
    trust = site_trust(site, signer, dates, disk)
    manifest = await sign(manifest, signer, clock)
    target = Path(site) / "models" / manifest["id"] / manifest["version"]
    async with disk.locked(Path(site) / "models" / ".lock"):
        if not replace:
            _check_free(disk.read(target / "manifest.json"), _index(Path(site), disk), manifest)
        staging = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            for path in files.values():
                disk.copy(path, staging / path.name)
            for name, data in extra.items():
                disk.write(staging / name, data)
            disk.write(staging / "manifest.json", pretty(manifest))
            disk.remove(target)
            disk.rename(staging, target)
        finally:
            disk.remove(staging)
        disk.write(Path(site) / "trust.json", pretty(trust))
        _update_index(Path(site), manifest, disk)
    return Published(manifest, target, key_id(signer.public_key))


def _check_free(there: bytes | None, rows: list[dict], manifest: dict) -> None:
    """Refuse a version that the index lists; one that only lies there is the rest of a publish that broke off."""
    if there is None or not any(_is(row, manifest) for row in rows):
        return
    same = json.loads(there).get("artifacts") == manifest["artifacts"]
    raise AlreadyPublished(
        f"{manifest['id']} {manifest['version']} is already published with {'the same' if same else 'other'} files. Give a new "
        "--version: readers keep what they have under this one. --replace overwrites it all the same.",
        id=manifest["id"],
    )


def _is(row: dict, manifest: dict) -> bool:
    return (row["id"], row["version"]) == (manifest["id"], manifest["version"])


def _index(site: Path, disk) -> list[dict]:
    return json.loads(disk.read(site / "models" / "index.json") or b'{"models": []}')["models"]


def _update_index(site: Path, manifest: dict, disk) -> None:
    rows = [row for row in _index(site, disk) if not _is(row, manifest)]
    rows = sorted([*rows, index_row(manifest)], key=lambda row: (row["id"], row["version"]))
    disk.write(site / "models" / "index.json", pretty({"models": rows}))


def index_row(manifest: dict) -> dict:
    """The row of `models/index.json` for a manifest; its address is relative to the index."""
    return {
        "id": manifest["id"],
        "version": manifest["version"],
        "name": manifest["name"],
        "type": manifest["type"],
        "quantization": manifest.get("optimization", {}).get("quantization", "unknown"),
        "size": total_size(manifest),
        "manifest": f"{manifest['id']}/{manifest['version']}/manifest.json",
    }
