"""A kernel pack: the manifest's form, version gate, hashes, allowlist and signature. Pure: bytes in, value or exception out; runs anywhere.

Order of judgement: signature over the manifest's bytes, form, version gate, features, then each module's length, hash and place in the
allowlist. Nothing of a pack is compiled before all of it has passed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from ..errors import (
    InvalidPack,
    MissingFeature,
    NotInAllowlist,
    PackHashMismatch,
    RuntimeTooNew,
    RuntimeTooOld,
    VersionIncompatible,
)
from ..fields import COUNT, OBJECT, POSITIVE, TEXT, Check, Field, check_fields, list_of, load_object, matching

CATEGORIES = ("positional_encoding", "normalization", "activation", "kv_cache", "adapter", "attention", "custom")
DTYPES = ("f32", "f16", "bf16", "i8", "u8", "i32", "u32", "q4", "q8")
LIMITS = {"max_memory_pages": 256, "max_epoch_ticks": 1000, "max_table_elements": 1024}

_HASH = matching('"sha256:" and 64 hex digits', r"sha256:[0-9a-fA-F]{64}")
_PATH = matching("a plain relative path", r"(?!.*(^|/)\.\.?(/|$))[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*")
_ID = matching("lower-case letters, digits and _", r"[a-z0-9_]{1,64}")
_VERSION = matching("a version such as 1.2.3", r"\d{1,9}\.\d{1,9}\.\d{1,9}(-[0-9A-Za-z.-]+)?")
_CATEGORY = Check(f"one of {', '.join(CATEGORIES)}", lambda v: v in CATEGORIES)
_DTYPE = Check(f"one of {', '.join(DTYPES)}", lambda v: v in DTYPES)
_SHAPE = list_of(Check("a name or an integer", lambda v: isinstance(v, (str, int)) and not isinstance(v, bool)))
_KIND = Check('"engine" or "extension"', lambda v: v in ("engine", "extension"))

_PACK = (
    Field("version", _VERSION, True),
    Field("name", TEXT, True),
    Field("min_runtime_version", _VERSION, True),
    Field("max_runtime_version", _VERSION, True),
    Field("author", OBJECT, True),
    Field("modules", OBJECT, True),
    Field("kernels", list_of(OBJECT, 1), True),
    Field("health", OBJECT, True),
    Field("fallbacks", OBJECT),
)
_BUILD = (
    Field("path", _PATH, True),
    Field("hash", _HASH, True),
    Field("size", POSITIVE, True),
    Field("features", list_of(TEXT), True),
)
_HEALTH = _BUILD[:3]
_KERNEL = (
    Field("id", _ID, True),
    Field("kind", _KIND, True),
    Field("category", _CATEGORY, True),
    Field("path", _PATH, True),
    Field("hash", _HASH, True),
    Field("module", TEXT, True),
    Field("entry_point", TEXT, True),
    Field("inputs", list_of(OBJECT), True),
    Field("outputs", list_of(OBJECT), True),
    Field("params", OBJECT, True),
    Field("resource_limits", OBJECT),
)
_TENSOR = (Field("name", TEXT, True), Field("dtype", _DTYPE, True), Field("shape", _SHAPE, True))
_LIMITS = tuple(Field(name, COUNT) for name in LIMITS)


@dataclass(frozen=True)
class Build:
    """One file of a module: where it lies, what it must be, which features it needs."""

    path: str
    hash: str
    size: int
    features: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PackManifest:
    """A parsed `kernels.json`: modules by name (builds in order of preference), kernels by id."""

    version: str
    name: str
    runtime: tuple[str, str]
    modules: dict[str, tuple[Build, ...]]
    kernels: dict[str, dict[str, Any]]
    health: Build
    fallbacks: dict[str, str]

    def limits(self, kernel_id: str) -> dict[str, int]:
        """The kernel's resource limits over the defaults (256 pages, 1000 ticks, 1024 table elements)."""
        return LIMITS | self.kernels[kernel_id].get("resource_limits", {})


def file_entry(path: str, data: bytes) -> dict[str, Any]:
    """How a manifest names one of its files."""
    return {"path": path, "hash": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}


def parse_pack(data: bytes) -> PackManifest:
    """Raises InvalidPack naming the field that is wrong."""
    doc = load_object(data, "kernels.json", InvalidPack, InvalidPack)
    check_fields(doc, _PACK, "kernels.json", InvalidPack)
    modules = {
        name: tuple(_build(b, f"kernels.json modules.{name}") for b in builds)
        for name, builds in doc["modules"].items()
        if _is_list(builds, name)
    }
    check_fields(doc["health"], _HEALTH, "kernels.json health", InvalidPack)
    kernels = {entry.get("id"): _kernel(entry, i, modules) for i, entry in enumerate(doc["kernels"])}
    if len(kernels) < len(doc["kernels"]):
        raise InvalidPack("kernels.json: one kernel id is listed twice; ids must be unique")
    health = Build(*(doc["health"][n] for n in ("path", "hash", "size")))
    return PackManifest(
        doc["version"],
        doc["name"],
        (doc["min_runtime_version"], doc["max_runtime_version"]),
        modules,
        kernels,
        health,
        doc.get("fallbacks", {}),
    )


def _is_list(builds: Any, name: str) -> bool:
    if not isinstance(builds, list) or not builds:
        raise InvalidPack(
            f"kernels.json modules.{name}: expected a list of builds, best first, found {type(builds).__name__}"
        )
    return True


def _build(entry: Any, where: str) -> Build:
    check_fields(entry, _BUILD, where, InvalidPack)
    return Build(entry["path"], entry["hash"].lower(), entry["size"], frozenset(entry["features"]))


def _kernel(entry: dict, index: int, modules: dict[str, tuple[Build, ...]]) -> dict:
    where = f"kernels.json kernels[{index}]"
    check_fields(entry, _KERNEL, where, InvalidPack)
    for tensor in entry["inputs"] + entry["outputs"]:
        check_fields(tensor, _TENSOR, where, InvalidPack)
    check_fields(entry.get("resource_limits", {}), _LIMITS, where, InvalidPack)
    builds = modules.get(entry["module"], ())
    if not any(b.path == entry["path"] and b.hash == entry["hash"].lower() for b in builds):
        raise InvalidPack(f'{where}: no build of the module "{entry["module"]}" has this path and hash')
    return entry


def version_key(text: str) -> tuple:
    """Sorts versions by the precedence rules of SemVer 2.0.0. Raises VersionIncompatible for a text that is no version."""
    found = re.fullmatch(
        r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", str(text), re.ASCII
    )
    if not found:
        raise VersionIncompatible(f'"{text}" is not a version such as 1.2.3; the pack cannot be judged')
    release = tuple(int(n) for n in found.groups()[:3])
    parts = found[4].split(".") if found[4] else []
    return release, not parts, tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts)


def check_runtime(manifest: PackManifest, runtime: str) -> None:
    """Raise RuntimeTooOld or RuntimeTooNew unless min <= runtime <= max, both ends included."""
    low, high = manifest.runtime
    if version_key(runtime) < version_key(low):
        raise RuntimeTooOld(
            f"The kernel pack {manifest.name} {manifest.version} needs EdgeNet {low} or newer, this is {runtime}. Update EdgeNet.",
            required=low,
            actual=runtime,
        )
    if version_key(runtime) > version_key(high):
        raise RuntimeTooNew(
            f"The kernel pack {manifest.name} {manifest.version} works up to EdgeNet {high}, this is {runtime}. Get a newer pack.",
            supported=high,
            actual=runtime,
        )


def choose_builds(manifest: PackManifest, features: frozenset[str]) -> dict[str, Build]:
    """For each module the first build whose features are all there. Raises MissingFeature when none fits."""
    chosen = {}
    for name, builds in manifest.modules.items():
        fits = [b for b in builds if b.features <= features]
        if not fits:
            lacking = sorted(builds[-1].features - features)
            raise MissingFeature(
                f'The module "{name}" needs {", ".join(lacking)}, which this machine or browser lacks.',
                module=name,
                features=lacking,
            )
        chosen[name] = fits[0]
    return chosen


def check_bytes(build: Build, data: bytes) -> None:
    """Raise PackHashMismatch unless length and SHA-256 are those of the manifest."""
    found = "sha256:" + hashlib.sha256(data).hexdigest()
    if len(data) != build.size or found != build.hash.lower():
        raise PackHashMismatch(
            f"{build.path}: expected {build.size} bytes with {build.hash}, found {len(data)} bytes with {found}. Fetch the pack again.",
            path=build.path,
            expected=build.hash,
            actual=found,
        )


def check_allowlist(manifest: PackManifest, chosen: dict[str, Build], allowlist: dict[str, Any] | None) -> None:
    """With an allowlist `{version, kernels: {id: [hash…]}}`, raise NotInAllowlist for a kernel whose chosen module it does not name."""
    if allowlist is None:
        return
    for kernel_id, entry in manifest.kernels.items():
        found = chosen[entry["module"]].hash
        if found not in [h.lower() for h in allowlist.get("kernels", {}).get(kernel_id, [])]:
            raise NotInAllowlist(
                f'The allowlist does not name the kernel "{kernel_id}" with {found}. Add it, or use another pack.',
                kernel=kernel_id,
                hash=found,
            )
