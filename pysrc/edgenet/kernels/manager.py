"""The active kernel pack: verify, compile, health-check, and only then swap; the previous pack is kept to roll back to. Runs anywhere.

Everything about the host is passed in: `read(path) -> bytes` of the pack's folder, a runtime that makes engines and extensions, Ed25519.
Without a pack the NumPy references answer, slower, and `on_event` is told once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..errors import EdgeNetError, HealthCheckFailed, KernelNotFound, NotFound, PackIoError
from ..trust import Revocations, Trust, verify_detached
from .ext import EXTENSIONS, ExtCall
from .health import check_engine, check_extensions
from .ops import NumpyEngine, Outcome
from .pack import Build, PackManifest, check_allowlist, check_bytes, check_runtime, choose_builds, parse_pack

Read = Callable[[str], bytes]


class Runtime(Protocol):
    """What a host offers: the features it has, and engines and extensions made from module bytes."""

    features: frozenset[str]

    def engine(self, data: bytes) -> Any: ...
    def extension(self, data: bytes, kernel_id: str, pages: int, budget: int) -> Any: ...


@dataclass(frozen=True)
class Policy:
    """What a pack is judged by. `verify(public_key, signature, message)` is the host's Ed25519; `now` gives seconds since 1970."""

    trust: Trust
    runtime_version: str
    verify: Callable[[bytes, bytes, bytes], Awaitable[bool]]
    now: Callable[[], float]
    revocations: Revocations = field(default_factory=Revocations)
    allowlist: dict[str, Any] | None = None


@dataclass(frozen=True)
class ActivePack:
    """A pack that passed everything, ready to run."""

    manifest: PackManifest
    key_id: str
    builds: dict[str, Build]
    engine: Any
    extensions: dict[str, Any]
    checked: int  # health vectors that passed


def _read(read: Read, path: str) -> bytes:
    try:
        return read(path)
    except (OSError, NotFound) as error:
        raise PackIoError(
            f"{path} of the kernel pack cannot be read ({error}). Fetch the pack again.", path=path
        ) from error


async def load_pack(read: Read, policy: Policy, runtime: Runtime) -> ActivePack:
    """Verify, compile and health-check a pack. Raises a PackError or a KernelError; nothing is swapped."""
    raw = _read(read, "kernels.json")
    signature = _read(read, "kernels.json.sig").decode("ascii", "replace")
    key_id = await verify_detached(raw, signature, policy.trust, policy.revocations, policy.now(), policy.verify)
    manifest = parse_pack(raw)
    check_runtime(manifest, policy.runtime_version)
    builds = choose_builds(manifest, runtime.features)
    check_allowlist(manifest, builds, policy.allowlist)
    data = {name: _read(read, build.path) for name, build in builds.items()}
    health = _read(read, manifest.health.path)
    for build, content in [(builds[name], data[name]) for name in builds] + [(manifest.health, health)]:
        check_bytes(build, content)
    return _start(manifest, key_id, builds, data, health, runtime)


def _start(
    manifest: PackManifest,
    key_id: str,
    builds: dict[str, Build],
    data: dict[str, bytes],
    health: bytes,
    runtime: Runtime,
) -> ActivePack:
    engine, extensions = runtime.engine(data["engine"]), {}
    for kernel_id, entry in manifest.kernels.items():
        if entry["kind"] == "extension":
            limits = manifest.limits(kernel_id)
            extensions[kernel_id] = runtime.extension(
                data[entry["module"]], kernel_id, limits["max_memory_pages"], limits["max_epoch_ticks"]
            )
    try:
        checked = check_engine(engine, health) + check_extensions(extensions, health)
    except HealthCheckFailed:
        raise
    except EdgeNetError as error:  # a trap, a missing kernel: as bad as a wrong number
        raise HealthCheckFailed(
            f"The pack {manifest.name} {manifest.version} failed its health check: {error.message}",
            cause=error.to_data(),
        ) from error
    return ActivePack(manifest, key_id, builds, engine, extensions, checked)


class KernelManager:
    """Holds the active and the previous pack, and falls back to the references. `on_event` receives `{status, code, reason}`."""

    def __init__(self, policy: Policy, runtime: Runtime | None, on_event: Callable[[dict], None] = lambda _: None):
        self.active: ActivePack | None = None
        self.previous: ActivePack | None = None
        self.degraded: dict[str, int] = {}  # kernel id → calls answered by its reference
        self._policy, self._runtime, self._tell, self._numpy = policy, runtime, on_event, NumpyEngine()

    async def upgrade(self, read: Read) -> ActivePack:
        """Make the pack the active one. On any error the present one stays, the error is raised, and one event says so."""
        try:
            fresh = await load_pack(read, self._policy, self._runtime)
        except EdgeNetError as error:
            stays = f"pack {self.active.manifest.version}" if self.active else "the NumPy references"
            self._tell(
                {
                    "status": "fallback",
                    "code": error.code,
                    "reason": f"The new kernel pack was refused, {stays} stay: {error.message}",
                }
            )
            raise
        self.previous, self.active = self.active, fresh
        return fresh

    def rollback(self) -> ActivePack:
        """Go back to the previous pack. Raises KernelNotFound when there is none."""
        if self.previous is None:
            raise KernelNotFound("There is no previous kernel pack to go back to.")
        self.active, self.previous = self.previous, None
        return self.active

    def forget_previous(self) -> None:
        """Drop the previous pack, e.g. after a grace period of 300 s; its memory becomes free."""
        self.previous = None

    def call(self, name: str, /, **values: Any) -> Outcome:
        """(code, outputs) of an engine kernel from the active pack, else from its reference."""
        if self.active is None or name not in self.active.manifest.kernels:
            self._degrade(name, "no active kernel pack has it")
            return self._numpy.call(name, **values)
        return self.active.engine.call(name, **values)

    def call_extension(self, call: ExtCall) -> tuple[int, np.ndarray, np.ndarray]:
        """(code, output, scratch) of an extension kernel; its errors are raised, never answered by something else.
        Raises KernelNotFound.
        """
        if self.active and call.kernel in self.active.extensions:
            return self.active.extensions[call.kernel].call(call)
        if call.kernel not in EXTENSIONS:
            raise KernelNotFound(
                f'No active pack has the extension kernel "{call.kernel}", and it has no reference.', kernel=call.kernel
            )
        self._degrade(call.kernel, "no active kernel pack has it")
        return EXTENSIONS[call.kernel].reference(call)

    def _degrade(self, name: str, reason: str) -> None:
        if not self.degraded:
            self._tell(
                {
                    "status": "fallback",
                    "code": "kernel_not_found",
                    "reason": f'Kernel "{name}": {reason}; the NumPy reference answers, slower.',
                }
            )
        self.degraded[name] = self.degraded.get(name, 0) + 1
