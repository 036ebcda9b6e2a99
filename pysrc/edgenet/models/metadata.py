"""A model's metadata, read key by key: what is missing, of another type or out of its limits is said by name. Runs anywhere."""

from array import array
from collections.abc import Mapping
from typing import Any

from ..errors import MetadataContradicts, MetadataMissing

_REQUIRED = object()


class Metadata:
    """`metadata` of a header, with `{arch}` in keys standing for its architecture."""

    def __init__(self, values: Mapping[str, Any]):
        self.values, self.architecture = values, ""
        self.architecture = self._typed("general.architecture", str, "text", _REQUIRED)

    def key(self, key: str) -> str:
        return key.replace("{arch}", self.architecture)

    def has(self, key: str) -> bool:
        return self.key(key) in self.values

    def integer(self, key: str, least: int, most: int, default: Any = _REQUIRED) -> int:
        """An integer in least..most, or the default. A list (a value per layer) is taken when all its values are one and the same."""
        value = self._uniform(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self._refuse(key, "a whole number", value)
        if value != default and not least <= value <= most:
            self._refuse(key, f"from {least} to {most}", value)
        return value

    def number(self, key: str, least: float, most: float, default: Any = _REQUIRED) -> float:
        """A finite number in least..most, or the default, which may be written out in the file."""
        value = self._uniform(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._refuse(key, "a number", value)
        if value != default and not least <= value <= most:
            self._refuse(key, f"a number from {least:g} to {most:g}", value)
        return float(value)

    def text(self, key: str, default: Any = _REQUIRED) -> str:
        return self._typed(key, str, "text", default)

    def _uniform(self, key: str, default: Any) -> Any:
        value = self._found(key, default)
        if isinstance(value, list | tuple | array):
            if not value or any(v != value[0] for v in value):
                self._refuse(key, "one value for all layers", f"{len(value)} that differ")
            return value[0]
        return value

    def _typed(self, key: str, kind: type, words: str, default: Any) -> Any:
        value = self._found(key, default)
        if value is not default and not isinstance(value, kind):
            self._refuse(key, words, value)
        return value

    def _found(self, key: str, default: Any) -> Any:
        name = self.key(key)
        if name in self.values:
            return self.values[name]
        if default is _REQUIRED:
            raise MetadataMissing(
                f"The file's metadata has no {name!r}, and the model cannot be built without it."
                " The file is damaged or was made by an old converter: convert it again.",
                key=name,
            )
        return default

    def _refuse(self, key: str, expected: str, found: Any) -> None:
        raise MetadataContradicts(
            f"The file's metadata says {self.key(key)} = {str(found)[:60]}; it must be {expected}.", key=self.key(key)
        )
