"""Turning model files into a folder that any static host can serve: manifest with chunk hashes and CIDs, signed, listed. CPython.

A version appears whole or not at all, and is never changed once there; `models/index.json` is replaced atomically.
"""
import json
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import AlreadyPublished, InvalidOption, KeyUntrusted, ModelInvalid
from ..fields import time_text, to_base64
from ..integrity import check_file, describe, leaves_of
from ..manifest import key_id, parse, sign, total_size
from ..trust import REVOKE, SIGN_KERNELS, SIGN_MANIFEST, parse_trust, sign_revocations

KEY_YEARS = 5
_DAY_S = 86400
_YEAR_S = 365 * _DAY_S
# Well-known files and what a manifest calls them; a single .onnx file is the model, any other file is named by its stem.
_NAMES = {"tokenizer.json": "tokenizer", "tokenizer_config.json": "tokenizerConfig", "config.json": "config"}


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
        raise InvalidOption(f"Expected exactly one .onnx file among {', '.join(p.name for p in paths) or 'no files'}; found "
                            f"{len(models)}. Publish one model at a time.", found=[p.name for p in models])
    rows = {"model": models[0]}
    for path in paths:
        name = "model" if path == models[0] else _NAMES.get(path.name, path.stem.replace(".", "_"))
        if rows.setdefault(name, path) != path:
            raise InvalidOption(f"{path.name} and {rows[name].name} would both be called {name!r}; rename one.", name=name)
    return rows


def build_manifest(files: dict[str, Path], fields: dict, now: float, gateways: list[str]) -> tuple[dict, dict[str, bytes]]:
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


async def publish(files: dict[str, Path], fields: dict, site: Path, signer, dates: dict, clock, disk, *, gateways=(), replace=False) -> Published:
    """`dates`: validity of the signing key, for a new `trust.json`. Write a signed version into `site`. Raises AlreadyPublished, KeyUntrusted, a ManifestError or a StorageError; then nothing changed."""
    manifest, extra = build_manifest(files, fields, clock.now(), list(gateways))
    trust = site_trust(site, signer, dates, disk)
    manifest = await sign(manifest, signer, clock)
    target = Path(site) / "models" / manifest["id"] / manifest["version"]
    async with disk.locked(Path(site) / "models" / ".lock"):
        _check_free(disk.read(target / "manifest.json"), manifest, replace)
        staging = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            for path in files.values():
                disk.copy(path, staging / path.name)
            for name, data in extra.items():
                disk.write(staging / name, data)
            disk.write(staging / "manifest.json", _pretty(manifest))
            disk.remove(target)
            disk.rename(staging, target)
        finally:
            disk.remove(staging)
        disk.write(Path(site) / "trust.json", _pretty(trust))
        _update_index(Path(site), manifest, disk)
    return Published(manifest, target, key_id(signer.public_key))


def _check_free(there: bytes | None, manifest: dict, replace: bool) -> None:
    if there is not None and not replace:
        same = json.loads(there).get("artifacts") == manifest["artifacts"]
        what = "with the same files" if same else "with other files"
        raise AlreadyPublished(f"{manifest['id']} {manifest['version']} is already published {what}. Give a new --version: readers keep "
                               "what they have under this one. --replace overwrites it all the same.", id=manifest["id"])


def _update_index(site: Path, manifest: dict, disk) -> None:
    path = site / "models" / "index.json"
    rows = json.loads(disk.read(path) or b'{"models": []}')["models"]
    row = index_row(manifest)
    kept = [r for r in rows if (r["id"], r["version"]) != (row["id"], row["version"])]
    disk.write(path, _pretty({"models": sorted([*kept, row], key=lambda r: (r["id"], r["version"]))}))


def index_row(manifest: dict) -> dict:
    """The row of `models/index.json` for a manifest; its address is relative to the index."""
    return {"id": manifest["id"], "version": manifest["version"], "name": manifest["name"], "type": manifest["type"],
            "quantization": manifest.get("optimization", {}).get("quantization", "unknown"), "size": total_size(manifest),
            "manifest": f"{manifest['id']}/{manifest['version']}/manifest.json"}


# --- keys of a site --------------------------------------------------------------------------------------------------
def key_dates(made: float) -> dict[str, str]:
    """The validity of a key made at `made` (seconds since 1970): from the day before (a reader's clock may be slow), for KEY_YEARS."""
    start = made - made % _DAY_S - _DAY_S
    return {"notBefore": time_text(start), "notAfter": time_text(start + KEY_YEARS * _YEAR_S)}


def trust_entry(public_key: bytes, dates: dict[str, str]) -> dict:
    """An entry of `trust.json` for a raw 32-byte key and the `key_dates` of its validity: every duty."""
    return {"keyId": key_id(public_key), "publicKey": to_base64(public_key), "notBefore": dates["notBefore"], "notAfter": dates["notAfter"],
            "capabilities": [SIGN_MANIFEST, SIGN_KERNELS, REVOKE]}


def site_trust(site: Path, signer, dates: dict, disk) -> dict:
    """The `trust.json` of a site folder, made for this key if there is none yet. Raises KeyUntrusted if the key is not in it."""
    path = Path(site) / "trust.json"
    data = disk.read(path)
    if data is None:
        return {"schemaVersion": 1, "keys": [trust_entry(signer.public_key, dates)]}
    known = parse_trust(data).keys
    if key_id(signer.public_key) not in known:
        raise KeyUntrusted(f"{path} believes {', '.join(known)}, not {key_id(signer.public_key)}, so no reader would accept the signature. "
                           "Sign with one of those keys (--key), or add this one to trust.json.", keyId=key_id(signer.public_key))
    return json.loads(data)


async def revoke(site: Path, signer, dates: dict, clock, disk, keys=(), models=()) -> dict:
    """Sign and write the next `revocations.json` of a site folder: the old list and these key ids and (id, version) pairs."""
    site_trust(site, signer, dates, disk)
    path = Path(site) / "revocations.json"
    old = json.loads(disk.read(path) or b'{"sequence": 0, "keys": [], "manifests": []}')
    pairs = {(m["id"], m["version"]) for m in old["manifests"]} | set(models)
    document = {"schemaVersion": 1, "sequence": old["sequence"] + 1, "keys": sorted({*old["keys"], *keys}),
                "manifests": [{"id": name, "version": version} for name, version in sorted(pairs)], "issuedAt": time_text(clock.now())}
    signed = await sign_revocations(document, signer, clock)
    disk.write(path, _pretty(signed))
    return signed


# --- signing what is already described -------------------------------------------------------------------------------
async def sign_file(path: Path, signer, clock, disk) -> tuple[dict, Path]:
    """Sign the manifest at `path`, or the one beside the model file at `path`, after checking the files beside it.

    Returns (signed manifest, its path). Raises ManifestError, SizeMismatch or HashMismatch; then nothing was written.
    """
    manifest_path = _manifest_of(Path(path))
    data = disk.read(manifest_path)
    if data is None:
        raise InvalidOption(f"There is no manifest.json beside {path}. `edge-net-models publish` makes one.", path=str(path))
    manifest = parse(data)
    for artifact in manifest["artifacts"].values():
        _check_beside(manifest_path.parent, artifact)
    signed = await sign(manifest, signer, clock)
    disk.write(manifest_path, _pretty(signed))
    return signed, manifest_path


def _manifest_of(path: Path) -> Path:
    if path.is_dir():
        return path / "manifest.json"
    return path if path.suffix == ".json" and path.name not in _NAMES else path.with_name("manifest.json")


def check_folder(folder: Path, manifest: dict) -> list[dict]:
    """One row per file of a manifest that lies in `folder`: `wrong` chunk numbers, or `error` if it cannot be read."""
    rows = []
    for name, artifact in manifest["artifacts"].items():
        row = {"artifact": name, "file": artifact["filename"], "size": artifact["size"], "wrong": [], "missing": []}
        path = folder / artifact["filename"]
        if path.is_file() and path.stat().st_size == artifact["size"]:
            with path.open("rb") as stream:
                row["wrong"] = check_file(stream, artifact, leaves_of(artifact, _leaves_bytes(folder, artifact)))
        else:
            row["missing"] = ["the whole file"]
        rows.append(row)
    return rows


def _leaves_bytes(folder: Path, artifact: dict) -> bytes | None:
    return (folder / artifact["leavesFile"]["filename"]).read_bytes() if "leavesFile" in artifact else None


def _check_beside(folder: Path, artifact: dict) -> None:
    path = folder / artifact["filename"]
    if not path.is_file():
        raise InvalidOption(f"The manifest names {artifact['filename']}, which is not in {folder}. Put it there before signing.",
                            path=str(path))
    with path.open("rb") as stream:
        wrong = check_file(stream, artifact, leaves_of(artifact, _leaves_bytes(folder, artifact)))
    if wrong:
        raise ModelInvalid(f"{path} differs from its manifest in {len(wrong)} chunks. Publish it again: a signature must be true.",
                           path=str(path), wrong=wrong)


def _pretty(document: dict) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
