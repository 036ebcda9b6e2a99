"""What an option may be: a sentence and a test, a row per option, for dataclasses of options. Pure, runs anywhere."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from .errors import InvalidOption

WHOLE_MAX = 2**53 - 1  # the largest whole number that JavaScript counts to
Check = tuple[str, Callable[[Any], bool]]


def _number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def between(low: float, high: float) -> Check:
    """A finite number, both ends allowed."""
    return f"a number from {low:g} to {high:g}", lambda v: _number(v) and low <= v <= high


def below(low: float, high: float) -> Check:
    """A finite number from `low` on and less than `high`."""
    return f"a number from {low:g} and below {high:g}", lambda v: _number(v) and low <= v < high


def positive(high: float) -> Check:
    """A finite number above 0."""
    return f"a number above 0 and at most {high:g}", lambda v: _number(v) and 0 < v <= high


def whole(low: int, high: int = WHOLE_MAX) -> Check:
    """An integer, both ends allowed."""
    most = "" if high == WHOLE_MAX else f" to {high}"
    return f"a whole number from {low}{most}", lambda v: type(v) is int and low <= v <= high


def one_of(*words: str) -> Check:
    """One of these texts."""
    return f"one of {', '.join(words)}", lambda v: v in words


def flag() -> Check:
    """True or False."""
    return "true or false", lambda v: isinstance(v, bool)


def python_names(data: Mapping[str, Any]) -> dict[str, Any]:
    """Options out of JSON, their names in Python's style: `batchSize` is `batch_size`. Raises InvalidOption for what is no object."""
    if not isinstance(data, Mapping):
        raise InvalidOption(f"Options must be an object of names and values, found {data!r:.80}.")
    return {re.sub("[A-Z]", lambda m: "_" + m[0].lower(), name): value for name, value in data.items()}


def check_options(options: Any, checks: Mapping[str, Check]) -> None:
    """Judge every field of a dataclass that has a row. Raises InvalidOption: what it may be, what was found."""
    for field in fields(options):
        if field.name in checks:
            expected, test = checks[field.name]
            if not test(value := getattr(options, field.name)):
                raise InvalidOption(f"{field.name} must be {expected}, found {value!r}.", option=field.name)
