"""The key that signs: which file, whether others can read it, whether it is the one meant. CPython."""

import os
import stat
from pathlib import Path

from ..errors import KeyUntrusted
from ..host.cpython import create_signer, load_signer
from ..manifest import key_id
from ..registry.site_keys import key_dates, read_dates, trust_entry, write_dates


def key_path(shell, key: str | None) -> Path:
    """`--key`, else `signing.keyPath`."""
    return Path(key).expanduser() if key else shell.config.folder("signing.keyPath")


def signer(shell, key: str | None):
    """The signer at `key_path`. Raises KeyUntrusted if `signing.keyId` names another key; says so if others can read the file."""
    path = key_path(shell, key)
    found = load_signer(path)
    wanted, name = shell.config["signing.keyId"], key_id(found.public_key)
    if wanted and wanted != name:
        raise KeyUntrusted(
            f"{path} is the key {name}, but `signing.keyId` asks for {wanted}. Pass the right --key, or change it: "
            f"`edge-net-models config set signing.keyId {name}`.",
            path=str(path),
            expected=wanted,
            found=name,
        )
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        shell.say(f"notice: other users can read {path}; run `chmod 600 {path}`.")
    return found


def dates(shell, key: str | None) -> dict[str, str]:
    """The validity of the key at `key_path`."""
    return read_dates(key_path(shell, key), shell.disk)


def generate(shell, key: str | None) -> dict:
    """Make a key and the record of its validity; returns its entry for `trust.json`. Raises StorageUnavailable if the file is there."""
    path = key_path(shell, key)
    made = create_signer(path)
    validity = key_dates(shell.host.now())
    write_dates(path, validity, shell.disk)
    return trust_entry(made.public_key, validity)
