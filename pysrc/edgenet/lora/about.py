"""What EdgeNet alone knows of an adapter (name, base, checksum, signature, metadata), as JSON inside other formats. Runs anywhere."""

import json
from dataclasses import replace

from ..errors import HashMismatch, InvalidAdapter
from ..fields import load_object
from .adapter import Adapter

FIELDS = ("name", "base_id", "base_sha256", "family", "metadata", "signature")


def text(adapter: Adapter, vouched: bool = True) -> str:
    """The adapter without config and factors; fields that say nothing are left out. Not `vouched`: without checksum and signature."""
    data = {name: value for name in FIELDS if (value := getattr(adapter, name))} | {"checksum": adapter.checksum}
    kept = {name: value for name, value in data.items() if vouched or name not in ("checksum", "signature")}
    return json.dumps(kept, ensure_ascii=False, sort_keys=True)


def restored(adapter: Adapter, told: str | None, what: str) -> Adapter:
    """The adapter with what `text` told of it, nothing if that is None.

    Raises InvalidAdapter, or HashMismatch if the factors are not those that it told of.
    """
    if told is None:
        return adapter
    data = load_object(told, f"{what}, what it says of itself", InvalidAdapter, InvalidAdapter)
    made = replace(adapter, **{name: data[name] for name in FIELDS if name in data})
    require_checksum(made, data.get("checksum"), what)
    return made


def require_checksum(adapter: Adapter, told: str | None, what: str) -> None:
    """Return if `told` is the adapter's checksum, or nothing; raise HashMismatch if not."""
    if told not in (None, adapter.checksum):
        raise HashMismatch(
            f"{what}: its weights have the checksum {adapter.checksum[:12]}…, and it says {str(told)[:12]}…: they were changed or damaged. "
            "Get it again.",
            expected=str(told)[:64],
            found=adapter.checksum,
        )
