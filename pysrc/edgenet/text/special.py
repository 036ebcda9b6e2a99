"""What a GGUF file says of single tokens: their kinds, which ends a turn, which stands at the start. Pure, runs anywhere.

Token types are those of the GGUF specification (`tokenizer.ggml.token_type`); the names that end a turn whatever the file says are
llama.cpp's (src/llama-vocab.cpp), because many files leave them unmarked.
"""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import TokenizerInvalid

MOST_PARTS = 1 << 24  # characters of all parts of special tokens together: room for 16 Ki tokens of 32 characters
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

END_OF_TURN = frozenset(
    "<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s> <|eom_id|> <EOT> _<EOT> "
    "[EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response> <｜end▁of▁sentence｜> [e~[ <|fim_pad|> "
    "<fim-pad> <fim_pad> <|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame> <|file_sep|>".split()
)
# Where both of a row's names are tokens, the third is an ordinary mark inside a turn.
_NOT_AN_END = (
    ("<|return|>", "<|call|>", "<|end|>"),
    ("<|calls|>", "<|flush|>", "<|end|>"),
    ("<|tool_response>", "<turn|>", "</s>"),
)
# Ids that hold where the file is silent, by `tokenizer.ggml.model`.
_DEFAULTS = {
    "llama": {"bos": 1, "eos": 2, "unknown": 0},
    "bert": {"cls": 101, "seperator": 102, "unknown": 100},
    "t5": {"eos": 1, "unknown": 2},
    "gpt2": {"bos": 11, "eos": 11},
}


class Tokens(NamedTuple):
    """A file's vocabulary. Every list has one entry per token; `types` are the GGUF numbers, the marks that end a turn made CONTROL.

    `ends` are the ids after which a model has said all.
    """

    texts: list[str]
    types: list[int]
    scores: list[float]
    ends: list[int]

    def special(self) -> list[int]:
        """Ids that text of a person never becomes."""
        return [i for i, kind in enumerate(self.types) if kind in (CONTROL, UNKNOWN)]


def read_tokens(metadata: dict) -> Tokens:
    """The vocabulary in `metadata` (GGUF keys). Raises TokenizerInvalid when lists are missing, differ in length or repeat a token."""
    texts = _list(metadata, "tokens", str)
    count = len(texts)
    types = _list(metadata, "token_type", int, count, NORMAL)
    scores = _list(metadata, "scores", (int, float), count, 0.0)
    texts = [text or f"[EMPTY_{i}]" for i, text in enumerate(texts)]
    if len(set(texts)) != count:
        raise TokenizerInvalid(
            f"The tokenizer has {count} tokens, but {count - len(set(texts))} of them repeat another. Get the file anew."
        )
    if any(score != score for score in scores):
        raise TokenizerInvalid(
            "The tokenizer's scores hold NaN: no order of merging follows from them. Get the file anew."
        )
    marks = _turn_marks(texts, types)
    for i in marks:
        types[i] = CONTROL
    named = (token_id(metadata, name, count) for name in ("eos", "eot", "eom"))
    tokens = Tokens(texts, types, scores, list(dict.fromkeys([*(i for i in named if i is not None), *marks])))
    judge_lengths((texts[i] for i in tokens.special()), MOST_PARTS)
    return tokens


def judge_lengths(texts: Iterable[str], most: int) -> None:
    """Every place to cut a token is looked at, which is work by the square of its length. Raises TokenizerInvalid above `most`."""
    if (parts := sum(len(text) ** 2 for text in texts)) > most:
        raise TokenizerInvalid(
            f"The tokenizer has tokens far too long: {parts} characters of all their parts; at most {most} are read. "
            "Use another model file.",
            parts=parts,
        )


def token_id(metadata: dict, name: str, count: int) -> int | None:
    """The id that `tokenizer.ggml.<name>_token_id` gives, or the model kind's default; None when neither is a token."""
    default = _DEFAULTS.get(metadata.get("tokenizer.ggml.model"), {}).get(name)
    for value in (metadata.get(f"tokenizer.ggml.{name}_token_id"), default):
        if isinstance(value, int) and 0 <= value < count:
            return value
    return None


def _list(metadata: dict, name: str, kind, count: int | None = None, default=None) -> list:
    values = metadata.get(f"tokenizer.ggml.{name}")
    if values is None and count is not None:
        return [default] * count
    values = list(values) if isinstance(values, list | tuple | array) else []
    if not values or not all(isinstance(v, kind) for v in values) or len(values) < (count or 0):
        found = f"{len(values)} values" if values else "nothing usable"
        wanted = count or "the vocabulary"
        text = f"The file's tokenizer.ggml.{name} should list {wanted}; found {found}. Get the file anew, or convert it again."
        raise TokenizerInvalid(text, key=f"tokenizer.ggml.{name}")
    return values[:count]


def _turn_marks(texts: list[str], types: list[int]) -> list[int]:
    """Ids whose text is known to end a turn. One that a person's text may well hold (`</s>` is HTML) must not be an ordinary token
    of the file.
    """
    inner = {mark for first, second, mark in _NOT_AN_END if first in texts and second in texts}
    return [
        i
        for i, (text, kind) in enumerate(zip(texts, types, strict=True))
        if text in END_OF_TURN and text not in inner and (kind != NORMAL or any(bar in text for bar in "|｜"))
    ]
