"""The extension kernels of a signed pack: verified, health-checked, listed, run. Nothing of the engine is touched. Runs anywhere.

A runtime (`host/wasmtime_engine.py`) and a reader of the pack's folder are passed in. Twin of `web/engine/extension-pack.js`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import EdgeNetError, HealthCheckFailed, InvalidPack, KernelError, KernelNotFound, PackIoError
from ..trust import verify_detached
from .calls import make_call
from .codes import raise_for_code
from .health import check_extensions
from .manager import Policy, Runtime
from .pack import Build, PackManifest, check_allowlist, check_bytes, check_runtime, choose_builds, parse_pack

FIELDS = ("id", "kind", "category", "inputs", "outputs", "params")


@dataclass(frozen=True)
class ExtensionPack:
    """A pack that passed everything. `extensions` run in memories of their own; `checked` health vectors passed."""

    manifest: PackManifest
    key_id: str
    extensions: dict[str, Any]
    checked: int

    def kernels(self) -> list[dict]:
        """A row per kernel: id, kind, category, inputs, outputs, params, limits, runnable, pack, version, keyId."""
        m = self.manifest
        common = {"pack": m.name, "version": m.version, "keyId": self.key_id}
        return [
            {name: entry[name] for name in FIELDS}
            | {"scratch": entry.get("scratch", []), "limits": m.limits(i), "runnable": i in self.extensions, **common}
            for i, entry in m.kernels.items()
        ]

    def run(self, kernel_id: str, a: Any, b: Any = None, params: dict[str, Any] | None = None, **more: Any):
        """(output, scratch) of one call, flat. Arguments as `calls.make_call`.

        Raises KernelNotFound, what `make_call` raises, a trap's error (EpochDeadline for a runaway; the next call gets a fresh instance),
        or KernelTrap with `details.returned` for a code other than OK.
        """
        entry = self._entry(kernel_id)
        code, out, scratch = self.extensions[kernel_id].call(make_call(entry, a, b, params, **more))
        raise_for_code(code, kernel_id)
        return np.asarray(out), scratch

    def _entry(self, kernel_id: str) -> dict:
        if kernel_id in self.extensions:
            return self.manifest.kernels[kernel_id]
        there = ", ".join(self.extensions) or "none"
        why = "is the engine's own; sessions use it" if kernel_id in self.manifest.kernels else "is not in this pack"
        raise KernelNotFound(f'The kernel "{kernel_id}" {why}. To run there are: {there}.', kernel=kernel_id)


async def load_extensions(read: Callable, policy: Policy, runtime: Runtime) -> ExtensionPack:
    """Verify a pack and start its extension kernels; its engine module is neither read nor compiled.

    `read(path)` answers bytes, or a coroutine of them. Order: signature, form, version gate, features, allowlist, hashes, health.
    Raises a PackError or a TrustError's pack form.
    """
    raw, signature = await _get(read, "kernels.json"), await _get(read, "kernels.json.sig")
    text = signature.decode("ascii", "replace")
    key_id = await verify_detached(raw, text, policy.trust, policy.revocations, policy.now(), policy.verify)
    manifest = parse_pack(raw)
    check_runtime(manifest, policy.runtime_version)
    own = _extensions(manifest)
    builds = choose_builds(own, runtime.features)
    check_allowlist(own, builds, policy.allowlist)
    data = {name: await _checked(read, build) for name, build in builds.items()}
    health = await _checked(read, manifest.health)
    _require_vectors(own, health)
    return _start(manifest, own, key_id, data, health, runtime)


def _extensions(manifest: PackManifest) -> PackManifest:
    """The manifest with its extension kernels and their modules alone. Raises InvalidPack for another entry point."""
    kernels = {i: e for i, e in manifest.kernels.items() if e["kind"] == "extension"}
    for i, entry in kernels.items():
        if entry["entry_point"] != "kernel_forward":
            raise InvalidPack(
                f'kernels.json: the entry point of "{i}" must be kernel_forward, found {entry["entry_point"]!r}'
            )
    used = {entry["module"] for entry in kernels.values()}
    return replace(manifest, kernels=kernels, modules={n: b for n, b in manifest.modules.items() if n in used})


def _require_vectors(own: PackManifest, health: bytes) -> None:
    """Raise HealthCheckFailed for a kernel that nothing would check."""
    try:
        tested = {vector["kernel"] for vector in json.loads(health)["extensions"]}
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidPack(f"{own.health.path} is no list of health vectors ({error!r}); make the pack again") from error
    if lacking := sorted(set(own.kernels) - tested):
        raise HealthCheckFailed(
            f"The pack {own.name} has no health vector for {', '.join(lacking)}. The pack is not used."
        )


def _start(manifest, own: PackManifest, key_id: str, data: dict[str, bytes], health: bytes, runtime) -> ExtensionPack:
    try:
        made = {}
        for i, entry in own.kernels.items():
            limits = own.limits(i)
            module = data[entry["module"]]
            made[i] = runtime.extension(module, i, limits["max_memory_pages"], limits["max_epoch_ticks"])
        return ExtensionPack(manifest, key_id, made, check_extensions(made, health))
    except HealthCheckFailed:
        raise
    except KernelError as error:  # a trap is as bad as a wrong number
        what = f"The pack {own.name} {own.version} failed its health check: {error.message}"
        raise HealthCheckFailed(what, cause=error.to_data()) from error


async def _checked(read: Callable, build: Build) -> bytes:
    data = await _get(read, build.path)
    check_bytes(build, data)
    return data


async def _get(read: Callable, path: str) -> bytes:
    try:
        data = read(path)
        return await data if inspect.isawaitable(data) else data
    except (OSError, EdgeNetError) as error:
        text = f"{path} of the kernel pack cannot be read ({error}). Check the address."
        raise PackIoError(text, path=path) from error
