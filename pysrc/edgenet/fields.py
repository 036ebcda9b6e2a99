"""Strict reading of small JSON documents: one table of fields per object, a row per field. Runs anywhere.

Twin of `web/trust/fields.js`. Unknown fields are kept and never judged. Whatever comes in, only the error class
that the caller names goes out.
"""

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from math import isfinite
from typing import NamedTuple

from .canonical import MAX_DEPTH, MAX_SAFE_INTEGER, canonicalize
from .errors import EdgeNetError, NotCanonical

MAX_DOCUMENT_BYTES = 4 << 20


class Check(NamedTuple):
    """What a field must be, in words and as a test of a JSON value."""

    expected: str
    test: Callable[[object], bool]


class Field(NamedTuple):
    """One row of a table: the field's name, its check, and whether it may be absent."""

    name: str
    check: Check
    required: bool = False


def matching(expected: str, pattern: str) -> Check:
    """A string that the pattern matches from end to end."""
    compiled = re.compile(pattern, re.ASCII)
    return Check(expected, lambda v: isinstance(v, str) and compiled.fullmatch(v) is not None)


def list_of(item: Check, least: int = 0) -> Check:
    """An array of at least `least` values that each pass `item`."""
    expected = f"an array of {least or 'any number'}{' or more' if least else ''}, each {item.expected}"
    return Check(expected, lambda v: isinstance(v, list) and len(v) >= least and all(map(item.test, v)))


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SAFE_INTEGER


_TIME_FORM = r"[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ"


def _is_time(value) -> bool:
    if not isinstance(value, str) or not re.fullmatch(_TIME_FORM, value, re.ASCII):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:  # 30 February and its like
        return False
    return True


TEXT = Check("a non-empty string", lambda v: isinstance(v, str) and len(v) > 0)
BOOL = Check("true or false", lambda v: isinstance(v, bool))
COUNT = Check("an integer from 0 to 2^53 - 1", _is_count)
POSITIVE = Check("an integer from 1 to 2^53 - 1", lambda v: _is_count(v) and v > 0)
OBJECT = Check("an object", lambda v: isinstance(v, dict))
TIME = Check("a UTC time such as 2026-01-31T12:00:00Z", _is_time)
SHA256 = matching("64 lower-case hex digits", r"[0-9a-f]{64}")
KEY_ID = matching("16 lower-case hex digits", r"[0-9a-f]{16}")
# The last digit's unused bits must be zero, so that one value has one text.
BASE64_32 = matching("32 bytes in base64", r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
BASE64_64 = matching("64 bytes in base64", r"[A-Za-z0-9+/]{85}[AQgw]==")
MODEL_ID = matching("lower-case letters and digits joined by single . _ -", r"(?=.{1,100}$)[a-z0-9]+([._-][a-z0-9]+)*")
VERSION = matching("letters and digits joined by single . _ + -", r"(?=.{1,64}$)[0-9A-Za-z]+([._+-][0-9A-Za-z]+)*")

SIGNATURE = (
    Field("algorithm", Check('"ed25519"', lambda v: v == "ed25519"), True),
    Field("keyId", KEY_ID, True),
    Field("timestamp", TIME, True),
    Field("value", BASE64_64, True),
)


def load_object(data, what: str, not_json: type[EdgeNetError], invalid: type[EdgeNetError]) -> dict:
    """A fresh JSON object from UTF-8 bytes, text, or a value of JSON types; integral numbers become ints.

    Raises `not_json` if the bytes are no JSON object, `invalid` if a value has no canonical form.
    """
    try:
        text = (canonicalize(data) if isinstance(data, dict) else _bounded(data)).decode("utf-8")
        require_shallow(text)
        value = json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_refuse)
        canonicalize(value)
    except NotCanonical as error:
        raise invalid(f"{what}: {error.message}") from error
    except RecursionError as error:
        raise invalid(f"{what}: nested too deeply; flatten it") from error
    except ValueError as error:
        raise not_json(f"{what}: expected one JSON object in UTF-8, found something else ({error})") from error
    if not isinstance(value, dict):
        raise not_json(f"{what}: expected a JSON object, found {brief(value)}")
    return value


def _bounded(data) -> bytes:
    if not isinstance(data, (str, bytes, bytearray, memoryview)):
        raise ValueError(f"a value of type {type(data).__name__}")
    raw = data.encode("utf-8") if isinstance(data, str) else bytes(data)
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"{len(raw)} bytes, more than {MAX_DOCUMENT_BYTES}")
    return raw


def require_shallow(text: str) -> None:
    """Return if a JSON text is nested no deeper than canonical JSON may be; raise NotCanonical if it is.

    To be asked before parsing: where Python itself runs in WebAssembly, deep nesting ends the interpreter, not the call.
    """
    depth = 0
    for found in _NESTING.finditer(text):
        depth += _STEP.get(found[0], 0)
        if depth > MAX_DEPTH + 1:
            raise NotCanonical(f"a value nested deeper than {MAX_DEPTH} levels is refused; flatten it")


_NESTING = re.compile(
    r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL
)  # a string without its end goes to the end: linear time
_STEP = {"[": 1, "{": 1, "]": -1, "}": -1}


def _refuse(constant: str):
    raise ValueError(f"{constant} is not JSON")


def _number(text: str) -> int | float:
    # As JavaScript reads it: a double. Whole numbers that a double cannot tell apart are refused in both languages.
    value = float(text)
    if not isfinite(value) or (value.is_integer() and abs(value) > MAX_SAFE_INTEGER):
        raise NotCanonical(f"the number {text[:40]} is beyond 2^53 - 1; write it as a string")
    return int(value) if value.is_integer() else value


def check_fields(value, table: tuple[Field, ...], where: str, error: type[EdgeNetError]) -> None:
    """Raise `error` unless `value` is an object whose fields pass the table."""
    if not isinstance(value, dict):
        raise error(f"{where}: expected an object, found {brief(value)}", field=where)
    for name, check, required in table:
        if name not in value:
            if required:
                raise error(f"{where}: the field {name!r} is missing; it must be {check.expected}", field=name)
        elif not check.test(value[name]):
            raise error(f"{where}: {name!r} must be {check.expected}, found {brief(value[name])}", field=name)


def brief(value) -> str:
    """A value as an error message shows it: at most 60 characters."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def seconds(time: str) -> int:
    """Seconds since 1970 of a text that passed TIME."""
    return int(datetime.fromisoformat(time).timestamp())


def time_text(now: float) -> str:
    """Seconds since 1970 as a text that passes TIME, the fraction dropped."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_base64(text: str) -> bytes:
    """The bytes of a text that passed BASE64_32 or BASE64_64."""
    return base64.b64decode(text)


def to_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")
