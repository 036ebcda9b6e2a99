"""The configuration file `~/.edge-net/models.yaml`: reading, checking, changing one value. CPython.

A file that is not there means the defaults. A key that is not known, or a value that cannot be, is a named error: nothing is guessed.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigInvalid, UnknownOption
from .options import BY_NAME, OPTIONS, SHORT, Option, parse_size

DEFAULT_PATH = "~/.edge-net/models.yaml"


@dataclass(frozen=True)
class Config:
    """The values of all options. `given` are those from the file, `path` is the file, there or not."""

    path: Path
    given: dict

    def __getitem__(self, name: str):
        return self.given.get(name, BY_NAME[name].default)

    def folder(self, name: str) -> Path:
        """A path option with `~` resolved; a relative path belongs to the folder of the configuration file."""
        return self.path.parent / Path(self[name]).expanduser()

    @property
    def home(self) -> Path:
        """The folder of trust, keys of sites and the configuration itself."""
        return self.path.parent

    @property
    def cache_limit(self) -> int | None:
        """Bytes the cache may hold, or None for no limit."""
        return parse_size(self["cache.maxSize"]) if self["cache.autoCleanup"] else None

    def all(self) -> dict:
        """Every option's value by name."""
        return {option.name: self[option.name] for option in OPTIONS}


def option(name: str) -> Option:
    """The option of this name or short name. Raises UnknownOption with the nearest names."""
    found = BY_NAME.get(SHORT.get(name, name))
    if found:
        return found
    near = difflib.get_close_matches(name, [*BY_NAME, *SHORT], n=3, cutoff=0.5)
    near += [row for row in BY_NAME if row.split(".")[-1].lower() == name.split(".")[-1].lower() and row not in near]
    hint = f"Did you mean {' or '.join(near)}?" if near else "`edge-net-models config show` lists all."
    raise UnknownOption(f"There is no option {name!r}. {hint}", option=name, near=near)


def load(path: Path, disk) -> Config:
    """Read and check the file. Raises ConfigInvalid or UnknownOption naming file and key."""
    import yaml

    try:
        tree = yaml.safe_load(disk.read(path) or b"")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigInvalid(
            f"{path} is not YAML: {str(error).splitlines()[0]}. Correct it, or remove it to use the defaults.",
            path=str(path),
        ) from error
    if not isinstance(tree or {}, dict):
        raise ConfigInvalid(
            f"{path} must hold `key: value` lines. Correct it, or remove it to use the defaults.", path=str(path)
        )
    return Config(path, {name: check(option(name), value, f"{path}: ") for name, value in _flat(tree or {}).items()})


def check(row: Option, value, where: str = ""):
    """The value as the option wants it. Raises ConfigInvalid that says what it must be."""
    try:
        return row.parse(value)
    except (ValueError, TypeError) as error:
        raise ConfigInvalid(
            f"{where}{row.name} must be {error}; found {value!r}.", option=row.name, found=str(value)
        ) from error


def save(config: Config, name: str, text: str, disk) -> Config:
    """Set one option and write the file whole; other values stay. Raises as `check` and `option` do."""
    import yaml

    row = option(name)
    fresh = Config(config.path, {"version": 1, **config.given, row.name: check(row, text)})
    disk.write(config.path, yaml.safe_dump(_tree(fresh.given), sort_keys=False).encode())
    return fresh


def _flat(tree: dict, prefix: str = "") -> dict:
    """`{"a": {"b": 1}}` → `{"a.b": 1}`; a known option is a leaf whatever its value is."""
    rows = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        known_group = any(row.startswith(f"{name}.") for row in BY_NAME)
        if isinstance(value, dict) and known_group:
            rows |= _flat(value, f"{name}.")
        elif value is not None or not known_group:
            rows[name] = value
    return rows


def _tree(rows: dict) -> dict:
    tree: dict = {}
    for name, value in rows.items():
        *groups, leaf = name.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[leaf] = value
    return tree
