"""What a person gives to learn from: texts, or pairs of an input and the output wanted, and either as tokens. Runs anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import NoMaskToken, NotCanonical, NotText, WrongType
from ..fields import require_shallow
from ..text.encode import TextTokenizer

Example = str | Mapping[str, str]  # a text, or {"input", "output"}
LINES = (".jsonl", ".ndjson")
MASKS = ("[MASK]", "<mask>", "<|mask|>")  # what tokenizers call it


@dataclass(frozen=True)
class Tokens:
    """An example as tokens. `ids` i32 (n,); `counts` bool (n,): whether a token is to be predicted; `size`: bytes of UTF-8 that these
    are; `pair`: must not be cut; `place`: among what was given, from 1; 0: nobody told."""

    ids: np.ndarray
    counts: np.ndarray
    size: int
    pair: bool = False
    place: int = 0


def read_examples(name: str, text: str) -> list[Example]:
    """The examples of a file's text: each line of a .jsonl file ({"input", "output"}, {"text"} or a string), else the whole text.

    Raises NotText for a line that is none of these, with its number.
    """
    if not name.lower().endswith(LINES):
        return [text]
    lines = re.split("\r\n?|\n", text)  # what else ends a line in Python may stand in a JSON text
    return [_line(name, i, line) for i, line in enumerate(lines, 1) if line.strip()]


def _line(name: str, number: int, line: str) -> Example:
    try:
        require_shallow(line)
        found = json.loads(line)
    except (ValueError, NotCanonical) as error:
        raise NotText(f"{name}, line {number} is no JSON ({error}). Correct it, or take it out.", file=name) from error
    found = found.get("text", found) if isinstance(found, dict) else found
    if not _is_example(found):
        raise NotText(
            f'{name}, line {number} must be {{"input": text, "output": text}}, {{"text": text}} or a text; found {line[:60]!r}.',
            file=name,
        )
    return found


def _is_example(value) -> bool:
    return isinstance(value, str) or (
        isinstance(value, Mapping) and all(isinstance(value.get(k), str) for k in ("input", "output"))
    )


def tokenize(
    examples: Iterable[Example | Tokens], tokenizer: TextTokenizer, generation: Mapping, first: int = 1
) -> list[Tokens]:
    """Examples as tokens, their places counted from `first`; those without a character to learn are left out.

    Raises WrongType for what is no example, and what the model's chat template raises.
    """
    found = [
        e if isinstance(e, Tokens) else replace(_tokens(e, tokenizer, generation), place=i)
        for i, e in enumerate(examples, first)
    ]
    return [tokens for tokens in found if tokens.counts.any()]


def _tokens(example, tokenizer, generation) -> Tokens:
    if not _is_example(example):
        raise WrongType(
            f"An example must be a text or {{input, output}}, both texts; found {type(example).__name__}.",
        )
    if isinstance(example, str):
        return _text(example, tokenizer, generation)
    return (_chat_pair if generation.get("chatTemplate") else _plain_pair)(example, tokenizer, generation)


def start(generation: Mapping) -> list[int]:
    """The token that a model wants before a text, if any."""
    return [generation["bos"]] if generation["addBos"] and generation["bos"] is not None else []


def _text(text: str, tokenizer, generation) -> Tokens:
    """First token, text, and the token that ends it, so that the model learns where texts end."""
    ids = tokenizer.encode(text) if text.strip() else []
    return _marked(start(generation), [*ids, *generation["eos"][:1]] if ids else [], text)


def _plain_pair(pair: Mapping, tokenizer, generation) -> Tokens:
    before = [*start(generation), *tokenizer.encode(pair["input"])]
    answer = tokenizer.encode(pair["output"]) if pair["output"].strip() else []
    return _marked(before, [*answer, *generation["eos"][:1]] if answer else [], pair["output"], pair=True)


def _chat_pair(pair: Mapping, tokenizer, generation) -> Tokens:
    """Asked and answered through the model's template. The answer begins where the whole differs from a prompt that waits for one,
    and ends with the first token that ends a turn.
    """
    asked = [{"role": "user", "content": pair["input"]}]
    prompt = _turns(tokenizer, generation, asked, waits=True)
    whole = _turns(tokenizer, generation, [*asked, {"role": "assistant", "content": pair["output"]}], waits=False)
    same = next(
        (i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), min(len(prompt), len(whole))
    )
    last = next((i for i in range(same, len(whole)) if whole[i] in generation["eos"]), len(whole) - 1)
    return _marked(whole[:same], whole[same : last + 1] if pair["output"].strip() else [], pair["output"], pair=True)


def _turns(tokenizer, generation: Mapping, messages: list[dict], waits: bool) -> list[int]:
    """A chat's tokens, by the tokenizer itself where it can: a page's has the template in its worker."""
    if by_itself := getattr(tokenizer, "chat", None):
        return by_itself(messages, waits)
    from ..text.chat import Chat, tokenize_chat  # needs jinja2, which texts do not

    return tokenize_chat(tokenizer, generation, Chat(messages, add_generation_prompt=waits))


def mask_token(tokenizer: TextTokenizer) -> int:
    """The token that stands for a hidden one. Raises NoMaskToken."""
    found = next((tokenizer.special[name].id for name in MASKS if name in tokenizer.special), None)
    if found is None:
        raise NoMaskToken(f"The model's tokenizer has none of {', '.join(MASKS)}. Train with the causal objective.")
    return found


def _marked(before: Sequence[int], counted: Sequence[int], text: str, pair: bool = False) -> Tokens:
    ids = np.array([*before, *counted], np.int32)
    counts = np.arange(len(ids)) >= max(len(before), 1)  # nothing foretells a first token
    return Tokens(ids, counts, len(text.encode("utf-8", "replace")), pair)
