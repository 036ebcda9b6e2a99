"""Signing a manifest that is there, and checking a folder of files against one. CPython; disk, clock and signer are passed in."""

from pathlib import Path

from ..errors import InvalidOption, ModelInvalid
from ..integrity import check_file, leaves_of
from ..manifest import parse, sign
from .publish import NAMES
from .site_keys import pretty


async def sign_file(path: Path, signer, clock, disk) -> tuple[dict, Path]:
    """Sign the manifest at `path`, or the one beside the model file at `path`, after checking the files beside it.

    Returns (signed manifest, its path). Raises ManifestError, SizeMismatch or HashMismatch; then nothing was written.
    """
    manifest_path = _manifest_of(Path(path))
    data = disk.read(manifest_path)
    if data is None:
        raise InvalidOption(
            f"There is no manifest.json beside {path}. `edge-net-models publish` makes one.", path=str(path)
        )
    manifest = parse(data)
    for artifact in manifest["artifacts"].values():
        _check_beside(manifest_path.parent, artifact)
    signed = await sign(manifest, signer, clock)
    disk.write(manifest_path, pretty(signed))
    return signed, manifest_path


def _manifest_of(path: Path) -> Path:
    if path.is_dir():
        return path / "manifest.json"
    return path if path.suffix == ".json" and path.name not in NAMES else path.with_name("manifest.json")


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
    path = folder / artifact.get("leavesFile", {}).get("filename", "")
    return path.read_bytes() if path.is_file() else None


def _check_beside(folder: Path, artifact: dict) -> None:
    path = folder / artifact["filename"]
    if not path.is_file():
        raise InvalidOption(
            f"The manifest names {artifact['filename']}, which is not in {folder}. Put it there before signing.",
            path=str(path),
        )
    with path.open("rb") as stream:
        wrong = check_file(stream, artifact, leaves_of(artifact, _leaves_bytes(folder, artifact)))
    if wrong:
        raise ModelInvalid(
            f"{path} differs from its manifest in {len(wrong)} chunks. Publish it again: a signature must be true.",
            path=str(path),
            wrong=wrong,
        )
