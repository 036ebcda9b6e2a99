"""A kernel pack in a folder or at an address, its extension kernels ready to run in wasmtime. CPython only.

`with open_pack("dist/kernels", "dist/trust.json") as pack: y, _ = pack.run("swiglu_f32", x, gate, {"rows": 1, "hidden": 4, "beta": 1.0})`
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from .. import __version__
from ..kernels.extensions import ExtensionPack, load_extensions
from ..kernels.manager import Policy
from ..trust import Revocations, Trust, parse_trust
from .cpython import CPythonHost
from .http import Http
from .wasmtime_engine import WasmtimeRuntime

TICK_MS = 10  # what a pack's max_epoch_ticks counts


def pack_url(place: str) -> str:
    """The address of a pack's folder, ending in "/", from an http(s) address or a path."""
    url = (
        place if place.startswith(("http://", "https://", "file://")) else Path(place).expanduser().absolute().as_uri()
    )
    return url if url.endswith("/") else url + "/"


def pack_reader(http: Http, place: str) -> Callable:
    """`read(path)` for `load_extensions`, over an open Http."""
    return lambda path: http.get(urljoin(pack_url(place), path))


def policy(trust: Trust, revocations: Revocations | None = None, allowlist: dict | None = None) -> Policy:
    """Judgement by these keys, this EdgeNet's version and this machine's clock."""
    host = CPythonHost()
    return Policy(trust, __version__, host.verify_ed25519, host.now, revocations or Revocations(), allowlist)


@contextmanager
def open_pack(place: str, trust: Any, *, allowlist: dict | None = None) -> Iterator[ExtensionPack]:
    """The pack at `place` (folder or address), believed by `trust`: a trust.json as dict, bytes, or the path of one.

    Verified and health-checked; raises a PackError or TrustFileInvalid. The clock that stops runaway kernels ends with the block. Trap: not
    inside a running event loop; there, await `load_extensions`.
    """
    data = Path(trust).read_bytes() if isinstance(trust, str | Path) else trust
    rules = policy(parse_trust(data), allowlist=allowlist)
    with WasmtimeRuntime(tick_ms=TICK_MS) as runtime:
        yield asyncio.run(_load(place, rules, runtime))


async def _load(place: str, rules: Policy, runtime: WasmtimeRuntime) -> ExtensionPack:
    async with Http() as http:
        return await load_extensions(pack_reader(http, place), rules, runtime)
