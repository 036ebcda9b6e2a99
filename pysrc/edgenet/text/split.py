"""Splitting a text into passages that fit the model. Runs anywhere; twin of `web/engine/split.js`, tied by `tests/vectors/split.json`.

A paragraph (text between empty lines) is a passage; short ones (headings, list items) join the next. A paragraph that is too long
breaks after a sentence, else after a word, else anywhere, and the next passage repeats its last words (`overlap`).
Nothing is cut off: passages cover every character that is not white space at an edge.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import EmptyText, InvalidOption

MAX_TOKENS = 256
_OVERLAP_SHARE = 8  # by default an eighth of a passage is repeated
_MARKS = 2  # [CLS] and [SEP]
_SHORT = 24  # tokens; a paragraph with fewer is joined by the next
_INSIDE, _WORD, _SENTENCE, _PARAGRAPH = range(4)  # how good it is to break behind a unit

# Where BERT's pre-tokenizer always divides: white space, ASCII punctuation, Han characters. Token counts of units therefore add up.
_SPACE = "\\t\\n\\r \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
_ALONE = "!-/:-@\\[-`{-~\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff"
# A run of letters longer than a quarter of a passage is divided, each part counted as if every letter were a token.
# A quarter, because NFD makes at most 4 characters of one.
_UNITS = f"([{_SPACE}]+)|([{_ALONE}])|[^{_SPACE}{_ALONE}]{{1,%d}}"
_SENTENCE_END = re.compile("[.!?\u2026\u3002\uff01\uff1f][\"')\\]\u201d\u2019\u00bb\u300d]{0,3}\\Z")
_WIDE_END = re.compile("[\u3002\uff01\uff1f]\\Z")  # scripts without spaces end sentences with these
_EMPTY_LINE = re.compile("(?:\r\n?|\n)[ \t]*(?:\r\n?|\n)")


@dataclass(frozen=True)
class Passage:
    """`text` is the text's characters `start` to `end` (exclusive, code points); `tokens`, with [CLS] and [SEP], is never too few."""

    text: str
    start: int
    end: int
    tokens: int


@dataclass(slots=True)
class _Unit:
    start: int
    end: int
    tokens: int
    after: int


def split(
    text: str, count_unit: Callable[[str], int], max_tokens: int = MAX_TOKENS, overlap: int | None = None
) -> list[Passage]:
    """Passages of at most `max_tokens`. `count_unit(unit)` says a unit's tokens, bare of [CLS] and [SEP].

    `overlap` is an eighth of `max_tokens` unless given. Raises EmptyText when there is nothing but white
    space, InvalidOption for limits that make no sense.
    """
    overlap = max_tokens // _OVERLAP_SHARE if overlap is None else overlap
    _check(max_tokens, overlap)
    room = max_tokens - _MARKS
    units = list(_find_units(text, count_unit, _UNITS % (room // 4)))
    if not units:
        raise EmptyText("There is no text to split: it holds only white space. Give a text with words.")
    ranges = [piece for part in _paragraphs(units, room) for piece in _pieces(units, *part, room, overlap)]
    return [_passage(text, units[first:last]) for first, last in ranges]


def _check(max_tokens: int, overlap: int) -> None:
    if not 16 <= max_tokens <= MAX_TOKENS:
        raise InvalidOption(
            f"max_tokens must be a whole number from 16 to {MAX_TOKENS}, not {max_tokens}.", max_tokens=max_tokens
        )
    if not 0 <= overlap <= max_tokens / 2:
        raise InvalidOption(
            f"overlap must be a whole number from 0 to half of max_tokens ({max_tokens}), not {overlap}.",
            overlap=overlap,
        )


def _passage(text: str, units: Sequence[_Unit]) -> Passage:
    start, end = units[0].start, units[-1].end
    return Passage(text[start:end], start, end, sum(u.tokens for u in units) + _MARKS)


def _find_units(text: str, count_unit: Callable[[str], int], pattern: str) -> Iterator[_Unit]:
    last, run = None, False  # the unit not yet given, and whether it is a run of letters
    for match in re.finditer(pattern, text):
        space, alone = match.groups()
        if space is not None:
            if last:
                last.after = _rank(text, last, space)
            run = False
            continue
        found = match[0]
        unit = _Unit(*match.span(), 0, _SENTENCE if _WIDE_END.search(found) else _INSIDE)
        long = run and alone is None  # the second part of a run: the first was long too
        if long:
            last.tokens = _letters(text[last.start : last.end])
        unit.tokens = _letters(found) if long else count_unit(found)
        if last:
            yield last
        last, run = unit, alone is None
    if last:
        yield last


def _letters(part: str) -> int:
    """An upper bound of the tokens of a part of a run, whatever it is joined with."""
    return len(unicodedata.normalize("NFD", part))


def _rank(text: str, unit: _Unit, space: str) -> int:
    if _EMPTY_LINE.search(space):
        return _PARAGRAPH
    ended = _SENTENCE_END.search(text[max(0, unit.end - 4) : unit.end]) or unit.after == _SENTENCE
    return _SENTENCE if ended else _WORD


def _paragraphs(units: list[_Unit], room: int) -> list[tuple[int, int]]:
    """Ranges of units that become one passage, or several when too long."""
    ranges: list[tuple[int, int, int]] = []
    first = 0
    while first < len(units):
        last, tokens = first + 1, units[first].tokens
        while units[last - 1].after != _PARAGRAPH and last < len(units):
            tokens, last = tokens + units[last].tokens, last + 1
        if ranges and ranges[-1][2] < _SHORT and ranges[-1][2] + tokens <= room:
            ranges[-1] = (ranges[-1][0], last, ranges[-1][2] + tokens)
        else:
            ranges.append((first, last, tokens))
        first = last
    return [r[:2] for r in ranges]


def _pieces(units: list[_Unit], first: int, last: int, room: int, overlap: int) -> Iterator[tuple[int, int]]:
    while True:
        end = _break_at(units, first, last, room)
        yield first, end
        if end == last:
            return
        first = _resume_at(units, first, end, overlap, last, room)


def _break_at(units: list[_Unit], first: int, last: int, room: int) -> int:
    """Where the piece that begins at `first` ends: the best rank in its second half, the latest of them."""
    end, tokens = first, 0
    while end < last and (tokens + units[end].tokens <= room or end == first):
        tokens, end = tokens + units[end].tokens, end + 1
    if end == last:
        return last
    best, i, left = end, end, tokens
    while i > first and left > tokens / 2:
        if units[i - 1].after > units[best - 1].after:
            best = i
        i -= 1
        left -= units[i].tokens
    return best


def _resume_at(units: list[_Unit], first: int, end: int, overlap: int, last: int, room: int) -> int:
    """Where the next piece begins: up to `overlap` tokens before `end`, at a sentence if one begins there, else at a word."""
    best, rank, tokens, i = end, _INSIDE, 0, end - 1
    while i > first and tokens + units[i].tokens <= overlap:
        tokens += units[i].tokens
        if units[i - 1].after >= max(rank, _WORD):
            best, rank = i, units[i - 1].after
        i -= 1
    # an overlap that gains nothing would never finish
    return end if best < end and _break_at(units, best, last, room) <= end else best
