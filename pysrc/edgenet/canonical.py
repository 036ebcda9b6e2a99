"""RFC 8785 canonical JSON: one byte string per value, the same in Python and JavaScript. Runs anywhere.

Refuses what has no such form: NaN, infinities, integers that a double cannot hold exactly, lone surrogates,
keys that are not strings, and types that JSON lacks.
"""

from math import isfinite

from .errors import NotCanonical

MAX_SAFE_INTEGER = 2**53 - 1
MAX_DEPTH = 64

# RFC 8785 3.2.2.2: two-character escapes where JSON has them, \u00xx for the other controls, nothing else.
_ESCAPES = {c: f"\\u{c:04x}" for c in range(0x20)}
_ESCAPES |= {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}


def canonicalize(value) -> bytes:
    """The canonical UTF-8 bytes of a JSON value (dict, list, tuple, str, int, float, bool, None).

    Raises NotCanonical. Trap: an int and a float of equal value have the same form (`1` and `1.0` are both `1`).
    """
    return _write(value, 0).encode("utf-8")


def _write(value, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise NotCanonical(f"canonical JSON: a value nested deeper than {MAX_DEPTH} levels is refused; flatten it")
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value, depth)
    raise NotCanonical(f"canonical JSON: a value of type {type(value).__name__} is not JSON; convert it first")


def _write_object(value: dict, depth: int) -> str:
    for key in value:
        if not isinstance(key, str):
            raise NotCanonical(f"canonical JSON: object keys must be strings, found {key!r}")
    # RFC 8785 3.2.3 sorts by UTF-16 code units, which differs from code points beyond the BMP.
    keys = sorted(value, key=_utf16)
    return "{" + ",".join(f"{_write_string(k)}:{_write(value[k], depth + 1)}" for k in keys) + "}"


def _write_array(value, depth: int) -> str:
    return "[" + ",".join(_write(item, depth + 1) for item in value) + "]"


def _utf16(text: str) -> bytes:
    try:
        return text.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise NotCanonical(f"canonical JSON: the string {text!r} holds a lone surrogate; repair the text") from error


def _write_string(text: str) -> str:
    _utf16(text)
    return '"' + text.translate(_ESCAPES) + '"'


def _write_int(value: int) -> str:
    if abs(value) > MAX_SAFE_INTEGER:
        raise NotCanonical("canonical JSON: an integer beyond 2^53 - 1 is inexact in JavaScript; write it as text")
    return int.__repr__(value)


def number(value: float) -> str:
    """A double as ECMAScript's Number::toString prints it (ECMA-262 6.1.6.1.20). Raises NotCanonical if not finite."""
    if not isfinite(value):
        raise NotCanonical(f"canonical JSON: {value!r} is not a JSON number; leave it out or use null")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    # Python's repr gives the same shortest digits; only the place of the point differs.
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    leading = len(digits) - len(digits.lstrip("0"))
    return sign + _place_point(digits[leading:].rstrip("0"), point - leading)


def _place_point(digits: str, n: int) -> str:
    """`digits` times 10^(n - len(digits)), in ECMAScript's choice of notation."""
    k = len(digits)
    if k <= n <= 21:
        return digits + "0" * (n - k)
    if 0 < n <= 21:
        return f"{digits[:n]}.{digits[n:]}"
    if -6 < n <= 0:
        return "0." + "0" * -n + digits
    mantissa = digits if k == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{'+' if n > 0 else '-'}{abs(n - 1)}"


# bool stands before int because a Python bool is an int.
_WRITERS = (
    (str, lambda value, depth: _write_string(value)),
    (bool, lambda value, depth: "true" if value else "false"),
    (int, lambda value, depth: _write_int(value)),
    (float, lambda value, depth: number(value)),
    (dict, _write_object),
    ((list, tuple), _write_array),
    (type(None), lambda value, depth: "null"),
)
