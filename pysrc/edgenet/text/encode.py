"""Text to tokens by a `tokenizer.json`, special tokens kept out of what people write. Pure, runs anywhere; twin of
`web/text/tokenizer.js`.

The host gives the library that runs a tokenizer.json (in CPython `host/tokenizer.py`). It is handed only the *plain* part: no
special token can come out of it, whatever the text says. Special tokens are cut out here, and only where the caller asks.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..errors import TokenizerInvalid
from .decode import Decoder, StreamDecoder

PlainEncoder = Callable[[str], list[int]]
_UNREACHABLE = " {}"  # a SentencePiece vocabulary never sees a space


class Special(NamedTuple):
    """A token that only a program may ask for. The flags say whether it swallows white space before and after it."""

    id: int
    text: str
    lstrip: bool
    rstrip: bool


class TextTokenizer:
    """A model's tokenizer. `make_plain(config)` gives an encoder for a tokenizer.json that has no special tokens; lone surrogates
    become U+FFFD.
    """

    def __init__(self, tokenizer_json: dict, make_plain: Callable[[dict], PlainEncoder]):
        self.special = {
            t["content"]: Special(t["id"], t["content"], t.get("lstrip", False), t.get("rstrip", False))
            for t in _added(tokenizer_json, True)
        }
        self._cut = re.compile("|".join(re.escape(t) for t in sorted(self.special, key=len, reverse=True)) or r"(?!)")
        self._plain = make_plain(plain_config(tokenizer_json))
        self._decoder = Decoder(tokenizer_json)
        self.first, self.last = _around(tokenizer_json, self.special)

    def encode(self, text: str, special: bool = False, around: bool = False, mark: str = "") -> list[int]:
        """Token ids of `text`. `special`: written-out special tokens count as such, and `mark`, which keeps others from doing so, is
        left out.

        `around`: with the tokens a model wants first and last.
        """
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        ids = [i for piece in (self._pieces(text, mark) if special else [text]) for i in self._ids(piece)]
        return [*self.first, *ids, *self.last] if around else ids

    def count_tokens(self, text: str, special: bool = False, around: bool = False) -> int:
        """How many tokens `encode` gives."""
        return len(self.encode(text, special, around))

    def decode(self, tokens: Sequence[int], special: bool = False) -> str:
        """The text of token ids. `special`: special tokens are written out, else left out. Raises TokenizerInvalid for an id that is
        no token.
        """
        return self._decoder.decode(tokens, special)

    def stream(self, special: bool = False, at_start: bool = False) -> StreamDecoder:
        """A decoder that takes one token at a time."""
        return StreamDecoder(self._decoder, special, at_start)

    def _ids(self, piece: str | Special) -> list[int]:
        return [piece.id] if isinstance(piece, Special) else self._plain(piece) if piece else []

    def _pieces(self, text: str, mark: str) -> Iterator[str | Special]:
        """`text` cut at special tokens, the longest where several fit; `mark` taken out between them."""
        start = 0
        for found in self._cut.finditer(text):
            token = self.special[found[0]]
            before = text[start : found.start()]
            before = before.replace(mark, "")
            yield before.rstrip() if token.lstrip else before
            yield token
            start = found.end()
            if token.rstrip:
                start += len(text[start:]) - len(text[start:].lstrip())
        yield text[start:].replace(mark, "")


def plain_config(tokenizer_json: dict) -> dict:
    """The tokenizer.json from which no text can make a special token: without them among the added tokens, in the vocabulary and in
    merges.
    """
    model = tokenizer_json["model"]
    special = {t["content"]: t["id"] for t in _added(tokenizer_json, True)}
    words = _added(tokenizer_json, False)
    return tokenizer_json | {
        "added_tokens": words,
        "post_processor": None,
        "truncation": None,
        "padding": None,
        "model": _PLAIN.get(model.get("type"), _plain_vocabulary)(model, special, words),
    }


def _plain_vocabulary(model: dict, special: dict, words: list[dict]) -> dict:
    unknown = model.get("unk_token")
    vocab = {text: i for text, i in model["vocab"].items() if text not in special or text == unknown}
    return model | {"vocab": vocab | {t["content"]: t["id"] for t in words}}


def _plain_bpe(model: dict, special: dict, words: list[dict]) -> dict:
    pairs = (m.split(" ", 1) if isinstance(m, str) else m for m in model["merges"])
    merges = [
        pair for pair in pairs if pair[0] + pair[1] not in special and pair[0] not in special and pair[1] not in special
    ]
    return _plain_vocabulary(model, special, words) | {"merges": merges}


def _plain_unigram(model: dict, special: dict, words: list[dict]) -> dict:
    """Ids are places in the list, so a special piece keeps its place under a name that no text has."""
    vocab = [
        [_UNREACHABLE.format(i), score] if text in special else [text, score]
        for i, (text, score) in enumerate(model["vocab"])
    ]
    known = {text for text, _ in vocab}
    return model | {
        "vocab": vocab
        + [[t["content"], 0.0] for t in sorted(words, key=lambda t: t["id"]) if t["content"] not in known]
    }


_PLAIN = {"BPE": _plain_bpe, "Unigram": _plain_unigram}


def _added(tokenizer_json: dict, special: bool) -> list[dict]:
    return [t for t in tokenizer_json.get("added_tokens") or [] if bool(t.get("special")) is special]


def _around(tokenizer_json: dict, special: dict[str, Special]) -> tuple[list[int], list[int]]:
    """(first, last): the ids that the post-processor, or the one in its sequence that does, puts around one text."""
    steps = [tokenizer_json.get("post_processor") or {}]
    steps = steps[0].get("processors", steps)
    for step in steps:
        if step.get("type") in ("BertProcessing", "RobertaProcessing"):
            return [step["cls"][1]], [step["sep"][1]]
        if step.get("type") == "TemplateProcessing":
            return _template(step)
    return [], []


def _template(step: dict) -> tuple[list[int], list[int]]:
    sides: tuple[list[int], list[int]] = ([], [])
    after = 0
    for part in step["single"]:
        if "Sequence" in part:
            after = 1
        else:
            name = part["SpecialToken"]["id"]
            if name not in step["special_tokens"]:
                raise TokenizerInvalid(
                    f"The tokenizer puts {name!r} around a text and does not say which token that is. Get the file anew."
                )
            sides[after].extend(step["special_tokens"][name]["ids"])
    return sides
