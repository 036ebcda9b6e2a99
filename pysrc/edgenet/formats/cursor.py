"""Little-endian values off a window of a GGUF file's first bytes. Runs anywhere.

Nothing is believed: a length is held against the file's bytes before anything of that length is made. Raises InvalidGguf, and Short
where the window ends before the file does.
"""

import struct
import sys
from array import array

from ..errors import InvalidGguf

MAX_HEADER = 100_000_000  # bytes before the weights; the largest vocabularies take about 15 MB
# Number of a metadata type in the file → its name here and its code for `struct` and `array`.
SCALARS = {
    0: ("u8", "B"),
    1: ("i8", "b"),
    2: ("u16", "H"),
    3: ("i16", "h"),
    4: ("u32", "I"),
    5: ("i32", "i"),
    6: ("f32", "f"),
    7: ("bool", "B"),
    10: ("u64", "Q"),
    11: ("i64", "q"),
    12: ("f64", "d"),
}
STRING, ARRAY = 8, 9
LEAST = {**{number: struct.calcsize("<" + code) for number, (_, code) in SCALARS.items()}, STRING: 8}


class Short(Exception):
    """The window of bytes ends at `needed` or before; the file does not."""

    def __init__(self, needed: int):
        self.needed = needed


class Cursor:
    """Reads little-endian values off a window of the file's first bytes."""

    def __init__(self, window: bytes, size: int, name: str):
        self.window, self.size, self.name, self.at = window, size, name, 0

    def bad(self, found: str, **details) -> InvalidGguf:
        """The error that says what was `found` wrong."""
        return InvalidGguf(
            f"{self.name} is no sound GGUF file: {found}. Download it again, or ask its maker.", **details
        )

    def within(self, count: int, what: str) -> int:
        """The end of the next `count` bytes. Raises InvalidGguf if the file, or the bound on headers, ends before."""
        end = self.at + count
        if end > min(self.size, MAX_HEADER):
            limit = f"the file ends at {self.size}" if end > self.size else f"a header may have {MAX_HEADER} bytes"
            raise self.bad(f"{what} at byte {self.at} would end at byte {end}, but {limit}", offset=self.at)
        return end

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes. Raises InvalidGguf or Short."""
        end = self.within(count, what)
        if end > len(self.window):
            raise Short(end)
        start, self.at = self.at, end
        return self.window[start:end]

    def number(self, code: str, what: str):
        """The next number, by its `struct` code."""
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))[0]

    def text(self, what: str, limit: int = MAX_HEADER) -> str:
        """The next text of at most `limit` bytes."""
        length = self.number("Q", f"the length of {what}")
        if length > limit:
            raise self.bad(f"{what} has {length} bytes, more than {limit}", offset=self.at)
        start = self.at
        try:
            return self.take(length, what).decode()
        except UnicodeDecodeError as error:
            raise self.bad(f"{what} at byte {start} is not UTF-8 ({error.reason})", offset=start) from error

    def scalar(self, number: int, what: str):
        """The next value of the scalar type `number`, a key of LEAST."""
        if number == STRING:
            return self.text(what)
        name, code = SCALARS[number]
        value = self.number(code, what)
        return self.truth(value, what) if name == "bool" else value

    def truth(self, value: int, what: str) -> bool:
        """A byte as true or false; anything but 0 and 1 is refused."""
        if value > 1:
            raise self.bad(f"{what} should be true or false (1 or 0) and is {value}", offset=self.at)
        return bool(value)

    def items(self, number: int, count: int, what: str):
        """The next `count` values of one type: a list of str or bool, or an `array.array` of numbers."""
        least = self.within(count * LEAST[number], f"{what}, an array of {count} items,")
        if least > len(self.window):
            raise Short(least)
        if number == STRING:
            return self.texts(count, what)
        name, code = SCALARS[number]
        raw = self.take(count * LEAST[number], what)
        if name == "bool":
            return [self.truth(value, what) for value in raw]
        values = array(code, raw)
        if sys.byteorder == "big":
            values.byteswap()
        return values

    def texts(self, count: int, what: str) -> list[str]:
        """A vocabulary is most of a header, so this loop is written for speed; `text` says what is wrong with one that does not fit."""
        window, at, pieces = self.window, self.at, []
        for _ in range(count):
            start = at + 8
            end = start + int.from_bytes(window[at:start], "little")
            if end > len(window):
                self.at = at
                self.text(what)  # always raises: the length or the text lies beyond the window
            pieces.append(window[start:end])
            at = end
        self.at = at
        try:
            return [piece.decode() for piece in pieces]
        except UnicodeDecodeError as error:
            raise self.bad(f"{what} holds a text that is not UTF-8 ({error.reason})") from error


def type_name(number: int) -> str:
    """The name of a scalar type's number: `u32`, `string` …"""
    return "string" if number == STRING else SCALARS[number][0]
