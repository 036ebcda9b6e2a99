"""The adapters that the user keeps, below the configuration's folder; what an adapter is and who vouches for it, for people. CPython."""

from contextlib import asynccontextmanager
from pathlib import Path

from ..errors import AdapterMismatch, AdapterNotFound, EdgeNetError, KeyUntrusted
from ..lora.adapter import Adapter, differences, other_file, require_base
from ..lora.pool import Pool
from .text import megabytes


def folder(shell) -> Path:
    """Where adapters are kept."""
    return shell.config.home / "adapters"


async def opened(shell) -> Pool:
    """The pool, to look at."""
    from ..host.storage import FolderStorage

    return await Pool(FolderStorage(folder(shell), shell.disk), shell.host).open()


@asynccontextmanager
async def changing(shell):
    """The pool, ours alone among all processes to change."""
    async with shell.disk.locked(
        folder(shell) / ".lock", lambda: shell.say("Waiting for another change of adapters …")
    ):
        yield await opened(shell)


async def find(shell, ref: str, header=None) -> Adapter:
    """The kept adapter of this name or id, or else the one at this path. Raises AdapterNotFound, and what reading raises."""
    from .adapter_files import read_adapter

    try:
        return await (await opened(shell)).get(ref)
    except AdapterNotFound:
        if not Path(ref).exists():
            raise
        return read_adapter(shell, ref, header)


# --- its base
def base_header(base: str | None):
    """The header of a base's GGUF file, None without one."""
    from .gguf_info import header_of_file

    return header_of_file(base) if base else None


def fit(adapter: Adapter, base: str, header) -> tuple[dict, EdgeNetError | None]:
    """({fits, differences, notices}, the AdapterMismatch if it does not fit). Reads the base's file where the adapter names its hash."""
    from ..host.files import sha256_of

    told = {"base": base, "fits": True, "differences": differences(adapter, header), "notices": []}
    try:
        require_base(adapter, header)
    except AdapterMismatch as error:
        return told | {"fits": False}, error
    if adapter.base_sha256 and (notice := other_file(adapter, sha256_of(base))):
        told["notices"].append(notice)
    return told, None


# --- its signature
async def vouched(shell, adapter: Adapter) -> tuple[dict, EdgeNetError | None]:
    """({state, keyId}, the error of a signature that is refused). States: unsigned, signed, unknown (a key that nobody trusts), refused.

    Who could change the file could also take its signature away: an unknown key says no less than none.
    """
    from ..lora.signature import verify
    from ..trust import Revocations

    if adapter.signature is None:
        return {"state": "unsigned", "keyId": None}, None
    key, revoked = adapter.signature["keyId"], set(shell.book.revoked())
    revoked |= {key for site in shell.book.sites() for key in shell.book.known_revocations(site["site"]).keys}
    try:
        trust, now = _trust(shell), shell.host.now()
        await verify(adapter, trust, Revocations(keys=frozenset(revoked)), now, shell.host.verify_ed25519)
    except KeyUntrusted:
        return {"state": "unknown", "keyId": key}, None
    except EdgeNetError as error:
        return {"state": "refused", "keyId": key}, error
    return {"state": "signed", "keyId": key}, None


async def find_vouched(shell, ref: str, header=None) -> Adapter:
    """As `find`; raises what is wrong with a signature that is refused, too."""
    made = await find(shell, ref, header)
    _, error = await vouched(shell, made)
    if error:
        raise error
    return made


async def find_fitting(shell, ref: str, loaded) -> Adapter:
    """As `find_vouched`, for a model that is loaded (`language.Loaded`); a notice tells where it was trained on another file of it."""
    made = await find_vouched(shell, ref, loaded.source.header)
    if made.base_sha256 and (notice := other_file(made, loaded.sha256)):
        shell.notice(notice)
    return made


def _trust(shell):
    """Every key the user believes, for whatever site."""
    from ..trust import Trust, parse_trust

    documents = [shell.book.own(), *(site["trust"] for site in shell.book.sites())]
    return Trust({name: key for d in documents if d["keys"] for name, key in parse_trust(d).keys.items()})


# --- what it is
def told(adapter: Adapter) -> dict:
    """What an adapter is, as data."""
    config = adapter.config
    return {
        "name": adapter.name,
        "id": adapter.id,
        "family": adapter.family,
        "baseId": adapter.base_id,
        "baseSha256": adapter.base_sha256,
        "rank": config.r,
        "alpha": config.lora_alpha,
        "scales": sorted({round(adapter.scale(path), 6) for path in adapter.tensors}),
        "modules": adapter.modules,
        "matrices": len(adapter.tensors),
        "bytes": adapter.bytes,
        "checksum": adapter.checksum,
        "metadata": dict(adapter.metadata),
    }


_STATES = {
    "unsigned": "none",
    "signed": "valid, by the key {keyId}",
    "unknown": "by the key {keyId}, which you do not trust (`edge-net-models keys trust` with its entry)",
    "refused": "refused",
}


def summary(data: dict) -> str:
    """The text of `told`, with its `signature` and, if asked for, its `fit`."""
    lines = [f"{data['name']} ({data['id']})"]
    return "\n".join(lines + [f"  {name:<10} {text}" for name, text in _lines(data) if text])


def _told(value) -> str:
    """Metadata for people: numbers short, groups in brackets."""
    if isinstance(value, dict):
        parts = (f"{k} ({_told(v)})" if isinstance(v, dict) else f"{k}: {_told(v)}" for k, v in value.items())
        return ", ".join(parts)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _lines(data: dict):
    """(heading, text or "") pairs."""
    yield "base", " ".join(filter(None, (data["family"], data["baseId"]))) or "not named"
    yield (
        "rank",
        f"{data['rank']}, alpha {data['alpha']:g}; times {', '.join(f'{scale:g}' for scale in data['scales'])}",
    )
    yield "modules", f"{' '.join(data['modules'])}, {data['matrices']} matrices"
    yield "size", megabytes(data["bytes"])
    yield "checksum", data["checksum"]
    yield "signature", _STATES[data["signature"]["state"]].format(**data["signature"])
    yield "about", _told(data["metadata"])
    if fits := data.get("fit"):
        yield "fits", f"{fits['base']}: {'yes' if fits['fits'] else 'no'}"
        for notice in fits["notices"]:
            yield "notice", notice["message"]
