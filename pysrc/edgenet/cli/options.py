"""What can be configured: one row per key with its default, its check and its meaning. Pure.

Values are plain YAML data; `parse` of a row turns the text of `config set` into them or raises ValueError with what is expected.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ..registry.site_keys import KEY_PATH

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_DAYS = {"h": 1 / 24, "d": 1, "w": 7}


def parse_size(value) -> int:
    """Bytes of `10GB`, `512 MiB` or a plain number. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?B?)", str(value).strip().upper())
    if not match or match[2] not in _UNITS:
        raise ValueError("a size such as 10GB, 512MiB or a number of bytes")
    return int(float(match[1]) * _UNITS[match[2]])


def parse_age(value: str) -> float:
    """Seconds of `30d`, `12h` or `2w`. Raises ValueError."""
    match = re.fullmatch(r"(\d+)([hdw])", value.strip())
    if not match:
        raise ValueError("an age such as 30d, 12h or 2w")
    return int(match[1]) * _DAYS[match[2]] * 86400


def _size(value) -> str:
    parse_size(value)
    return str(value).strip()


def _bool(value) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if str(value).lower() not in words:
        raise ValueError("true or false")
    return words[str(value).lower()]


def _whole(low: int, high: int) -> Callable:
    def parse(value) -> int:
        if not re.fullmatch(r"\d{1,9}", str(value)) or not low <= int(value) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(value)

    return parse


def _one_of(*words: str) -> Callable:
    def parse(value) -> str:
        if value not in words:
            raise ValueError("one of " + ", ".join(words))
        return value

    return parse


def _text(value) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _path(value) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a path")
    return value


def _address(value) -> str:
    if not isinstance(value, str) or not re.match(r"https?://[^/]", value):
        raise ValueError("an http(s) address")
    return value


def _gateways(value) -> list[str]:
    rows = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    rows = [row for row in rows or [] if row]
    if not isinstance(rows, list) or not all(isinstance(row, str) and re.match(r"https?://", row) for row in rows):
        raise ValueError("http(s) addresses with commas between them, such as https://ipfs.io/ipfs/")
    return rows


@dataclass(frozen=True)
class Option:
    """One key of the configuration file; dots in `name` are levels of the YAML."""

    name: str
    default: object
    parse: Callable
    help: str


OPTIONS = (
    Option("version", 1, _one_of(1, "1"), "version of this file's form"),
    Option(
        "defaultSource",
        "auto",
        _one_of("auto", "cdn", "gcs", "ipfs", "folder"),
        "the kind of source that is asked first",
    ),
    Option("cache.directory", "~/.edge-net/models", _path, "where models are kept"),
    Option("cache.maxSize", "10GB", _size, "above this size the longest unused models are removed after a pull"),
    Option("cache.autoCleanup", True, _bool, "whether maxSize is enforced"),
    Option("cdn.endpoint", "", _text, "the site that models come from: an address or a folder"),
    Option("cdn.timeout", 30000, _whole(1, 3_600_000), "milliseconds without a byte after which a request fails"),
    Option("cdn.retries", 3, _whole(0, 20), "how often a broken request is tried again at the same source"),
    Option("cdn.parallel", 4, _whole(1, 32), "requests at a time"),
    Option(
        "hub.endpoint",
        "https://huggingface.co",
        _address,
        "the model hub, or a mirror of it, that `hf:` addresses mean",
    ),
    Option("ipfs.gateways", [], _gateways, "IPFS gateways asked after the sources that a manifest names"),
    Option("preferences.preferQuantization", "", _text, "the quantization that `list` shows first"),
    Option("preferences.preferSmallModels", True, _bool, "whether `list` shows small models first, else by name"),
    Option(
        "preferences.autoUpdate",
        True,
        _bool,
        "whether `pull` without a version takes the site's newest over a cached one",
    ),
    Option("signing.keyPath", KEY_PATH, _path, "the Ed25519 key that signs, PEM, mode 0600"),
    Option("signing.keyId", "", _text, "if set, only a key with this id is used to sign"),
)
BY_NAME = {option.name: option for option in OPTIONS}
SHORT = {"cacheDir": "cache.directory", "site": "cdn.endpoint"}
