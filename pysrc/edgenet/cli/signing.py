"""The key that signs: which file, whether others can read it, whether it is the one meant. CPython."""
import os
import stat
from pathlib import Path

from ..errors import KeyUntrusted
from ..host.cpython import load_signer
from ..manifest import key_id


def key_path(shell, key: str | None) -> Path:
    """`--key`, else `signing.keyPath`."""
    return Path(key).expanduser() if key else shell.config.folder("signing.keyPath")


def signer(shell, key: str | None):
    """The signer at `key_path`. Raises KeyUntrusted if `signing.keyId` names another key; says so if others can read the file."""
    path = key_path(shell, key)
    found = load_signer(path)
    wanted, name = shell.config["signing.keyId"], key_id(found.public_key)
    if wanted and wanted != name:
        raise KeyUntrusted(f"{path} is the key {name}, but `signing.keyId` asks for {wanted}. Pass the right --key, or change it: "
                           f"`edge-net-models config set signing.keyId {name}`.", path=str(path), expected=wanted, found=name)
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        shell.say(f"notice: other users can read {path}; run `chmod 600 {path}`.")
    return found


def made_at(shell, key: str | None) -> float:
    """When the key file was written, in seconds since 1970: the beginning of its validity."""
    return key_path(shell, key).stat().st_mtime
