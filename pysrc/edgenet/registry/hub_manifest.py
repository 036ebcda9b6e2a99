"""The manifest that a model off a hub gets on this machine: unsigned, its hashes computed here. Runs anywhere; pure."""

import re
from pathlib import PurePosixPath

from ..formats import gguf_info
from ..formats.gguf import Header
from ..manifest import parse, total_size
from ..sources.hub import Hub, Place, Remote


def manifest(place: Place, hub: Hub, remotes: list[Remote], header: Header, files: list[dict]) -> dict:
    """The local, unsigned manifest of a model off a hub, of correct form. Parts of a split model are `model`, `model-2` …

    Its source is the hub itself, so wrong chunks are fetched again from there. Raises a ManifestError for names no manifest can hold.
    """
    told = gguf_info.describe(header)
    sizes = {"layers": "layers", "hiddenSize": "width", "vocabSize": "vocabulary", "contextLength": "context"}
    memory = gguf_info.memory(header)
    made = {
        "schemaVersion": 1,
        "id": model_id(place),
        "name": told["name"] or PurePosixPath(place.file).stem,
        "version": _slug(place.revision, 64),
        "type": "embedding" if gguf_info.is_encoder(told["architecture"] or "") else "text-generation",
        "family": told["architecture"] or "unknown",
        "artifacts": {f"model-{i}" if i > 1 else "model": artifact for i, artifact in enumerate(files, 1)},
        "sources": [{"type": "cdn", "priority": 1, "baseUrl": hub.folder(place)}],
        "architecture": {name: told[key] for name, key in sizes.items() if told[key]},
        "optimization": {
            "quantization": told["quantization"] or "unknown",
            "format": "GGUF",
            "optimizedSize": files[0]["size"],
        },
        "homepage": f"{hub.base}/{place.owner}/{place.name}",
        "hub": origin(place, hub, remotes),
    }
    if told["license"]:
        made["license"] = told["license"]
    made["requirements"] = {"minStorage": total_size(made)} | ({"minMemory": memory["total"]} if memory else {})
    return parse(made)


def origin(place: Place, hub: Hub, remotes: list[Remote]) -> dict:
    """The manifest's field `hub`: where the model came from, and what tells these bytes from later ones there."""
    return {"address": place.text, "endpoint": hub.base, "tags": [remote.sha256 or remote.tag for remote in remotes]}


def address_of(model) -> str | None:
    """The `hf:` address that a stored model came from; None for a model of a site, whatever its manifest says."""
    hub = model.manifest.get("hub")
    return hub.get("address") if model.state == "unsigned" and isinstance(hub, dict) else None


def model_id(place: Place) -> str:
    """The id under which a model off a hub is cached: owner, repository (unless the file repeats it) and file."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", PurePosixPath(place.file).name[: -len(".gguf")])
    name = re.sub(r"[._-]?gguf$", "", place.name, flags=re.IGNORECASE)
    parts = [place.owner, stem] if name.lower() in stem.lower() else [place.owner, name, stem]
    return _slug(".".join(parts).lower(), 100)


def _slug(text: str, limit: int) -> str:
    """Letters and digits with one separator between, as ids and versions are; of a long text its end, which tells most."""
    one = re.sub(r"[^A-Za-z0-9]+", lambda run: run[0] if run[0] in "._-" else "-", text)
    return one[-limit:].strip("._-")
