"""Tokens to text: what bytes each token stands for, and pieces of a stream that never split a character. Pure, runs anywhere.

Twin of `web/text/decode.js`. Bytes that are no UTF-8 become U+FFFD, one for each maximal wrong part (the Unicode Standard, chapter
3, "best practice").
"""

import codecs
import re
from collections.abc import Sequence

from ..errors import TokenizerInvalid

_CONTRACTED = frozenset(
    (" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're")
)  # tokenizers' clean-up, which looks at one token at a time


def byte_alphabet() -> dict[str, int]:
    """GPT-2's letters for the 256 bytes: printable ones stand for themselves, the others follow from U+0100."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in set(shown)]
    return {chr(b): b for b in shown} | {chr(0x100 + i): b for i, b in enumerate(hidden)}


_ALPHABET = byte_alphabet()


class Decoder:
    """What a tokenizer.json says of the way back. Immutable; `StreamDecoder` holds what changes."""

    def __init__(self, tokenizer_json: dict):
        model, added = tokenizer_json["model"], tokenizer_json.get("added_tokens") or []
        vocab = model["vocab"]
        pairs = vocab.items() if isinstance(vocab, dict) else ((piece[0], i) for i, piece in enumerate(vocab))
        self._texts = {i: text for text, i in pairs}
        self._added = {t["id"]: t["content"].encode() for t in added}
        self._special = {t["id"] for t in added if t.get("special")}
        steps = _steps(tokenizer_json.get("decoder"))
        self._bytes = next((_WAYS[step["type"]] for step in steps if step["type"] in _WAYS), _plain)
        self.strips_start = any(_strips(step) for step in steps)

    def bytes_of(self, token: int, special: bool) -> bytes:
        """The bytes of one token. Raises TokenizerInvalid for an id that is no token."""
        if token in self._added:
            return b"" if token in self._special and not special else self._added[token]
        if token not in self._texts:
            text = (
                f"There is no token {token}: the vocabulary has {len(self._texts)}. Decode with the model that made it."
            )
            raise TokenizerInvalid(text, token=token)
        return self._bytes(self._texts[token])

    def decode(self, tokens: Sequence[int], special: bool = False) -> str:
        """The text of `tokens` from a text's start."""
        stream = StreamDecoder(self, special, at_start=True)
        return "".join(map(stream.push, tokens)) + stream.end()


class StreamDecoder:
    """Takes tokens one by one and gives text as soon as it is whole. `at_start`: the space that stands before a first word is left
    out.
    """

    def __init__(self, decoder: Decoder, special: bool = False, at_start: bool = False):
        self._decoder, self._special = decoder, special
        self._strip = at_start and decoder.strips_start
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that `token` completes; may be empty."""
        data = self._decoder.bytes_of(token, self._special)
        if self._strip and data:
            data, self._strip = data.removeprefix(b" "), False
        return self._utf8.decode(data)

    def end(self) -> str:
        """What was held back, a broken character as U+FFFD."""
        return self._utf8.decode(b"", final=True)


# --- from a token's text to its bytes, by the decoder that the file names
def _byte_level(text: str) -> bytes:
    return bytes(_ALPHABET[c] for c in text) if all(c in _ALPHABET for c in text) else text.encode()


_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")


def _sentencepiece(text: str) -> bytes:
    if byte := _BYTE.fullmatch(text):
        return bytes.fromhex(byte[1])
    return text.replace("\u2581", " ").encode()


def _word_piece(text: str) -> bytes:
    if text.startswith("##"):
        return text[2:].encode()
    return (text if " " + text in _CONTRACTED else " " + text).encode()


def _plain(text: str) -> bytes:
    return text.encode()


_WAYS = {
    "ByteLevel": _byte_level,
    "ByteFallback": _sentencepiece,
    "Metaspace": _sentencepiece,
    "Replace": _sentencepiece,
    "WordPiece": _word_piece,
}


def _steps(decoder: dict | None) -> list[dict]:
    if decoder is None:
        return []
    return (
        [step for inner in decoder["decoders"] for step in _steps(inner)]
        if decoder["type"] == "Sequence"
        else [decoder]
    )


def _strips(step: dict) -> bool:
    kind = step["type"]
    return (
        kind == "WordPiece"
        or (kind == "Strip" and step.get("start", 0) > 0)
        or (kind == "Metaspace" and step.get("prepend_scheme", "always") != "never")
    )
