"""What a person gives to learn from: texts, or pairs of an input and the output wanted, and either as tokens. Runs anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

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
    lines = text.split("\n")  # alone, as JSON Lines has it; a return before it is space to JSON
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


@dataclass(frozen=True)
class Turns:
    """A chat, as a model's template writes it. `waits`: it opens an answer."""

    messages: list[dict]
    waits: bool

    def __len__(self) -> int:
        """Characters, without the template's."""
        return sum(len(message["content"]) for message in self.messages)


Question = str | Turns  # what becomes tokens by itself: a text without special ones, or a chat
PIECE = 1 << 16  # characters that a tokenizer is given at once, more or less: what shows no progress and hears no stop
MOST = 256  # questions at once: a chat's template takes its time


class Preparing:
    """Examples on their way to tokens. A long text is made into tokens piece by piece, for a tokenizer tells nothing while it works: at the
    seams, ends of lines, its tokens may be others than those of the whole.

    Whoever has a tokenizer takes `batches`, adds what each became to `answers`, in their order, and then asks for `tokens`.
    """

    def __init__(self, examples: Iterable[Example | Tokens], generation: Mapping):
        """Raises WrongType for what is no example."""
        self._examples, self._generation = list(examples), generation
        self._parts = [_parts(example, generation) for example in self._examples]
        self._questions = [question for parts in self._parts for part in parts for question in part]
        self.answers: list[Sequence[int]] = []
        self.done, self.total = 0, sum(map(len, self._questions))  # characters

    def batches(self) -> Iterator[list[Question]]:
        """What is to become tokens, a little at a time; `done` of `total` characters were before."""
        batch, room = [], PIECE
        for question in self._questions:
            if batch and (len(batch) == MOST or len(question) > room):
                yield batch
                self.done += PIECE - room
                batch, room = [], PIECE
            batch.append(question)
            room -= len(question)
        if batch:
            yield batch
        self.done = self.total

    def tokens(self) -> list[Tokens]:
        """All of them, with their places; those without a character to learn are left out."""
        answers, found = iter(self.answers), []
        for place, (example, parts) in enumerate(zip(self._examples, self._parts, strict=True), 1):
            said = [[i for _ in part for i in next(answers)] for part in parts]
            found.append(example if isinstance(example, Tokens) else _made(example, said, self._generation, place))
        return [one for one in found if one.counts.any()]


def tokenize(
    examples: Iterable[Example | Tokens], tokenizer: TextTokenizer, generation: Mapping, show=lambda done, total: None
) -> list[Tokens]:
    """Examples as tokens; those without a character to learn are left out. `show(done, total)` is told characters.

    Raises WrongType for what is no example, and what the model's chat template raises.
    """
    work = Preparing(examples, generation)
    for batch in work.batches():
        show(work.done, work.total)
        work.answers += [_encoded(question, tokenizer, generation) for question in batch]
    show(work.done, work.total)
    return work.tokens()


def _encoded(question: Question, tokenizer: TextTokenizer, generation: Mapping) -> Sequence[int]:
    if isinstance(question, str):
        return tokenizer.encode(question)
    from ..text.chat import Chat, tokenize_chat  # needs jinja2, which texts do not

    return tokenize_chat(tokenizer, generation, Chat(question.messages, add_generation_prompt=question.waits))


def _parts(example: Example | Tokens, generation: Mapping) -> list[list[Question]]:
    """What an example is made of: a text; an input and an output; through a template, a chat that waits for its answer and the whole."""
    if isinstance(example, Tokens):
        return []
    if not _is_example(example):
        raise WrongType(
            f"An example must be a text or {{input, output}}, both texts; found {type(example).__name__}.",
        )
    if isinstance(example, str):
        return [_pieces(example)]
    if not generation.get("chatTemplate"):
        return [_pieces(example["input"]), _pieces(example["output"])]
    asked = [{"role": "user", "content": example["input"]}]
    return [[Turns(asked, True)], [Turns([*asked, {"role": "assistant", "content": example["output"]}], False)]]


def _pieces(text: str) -> list[str]:
    """A text cut at the ends of lines, every piece but the last as long as PIECE lets it be; within a line where there is no end."""
    found, first = [], 0
    while len(text) - first > PIECE:
        end = text.rfind("\n", first, first + PIECE) + 1 or first + PIECE
        found.append(text[first:end])
        first = end
    return [*found, text[first:]]


def start(generation: Mapping) -> list[int]:
    """The token that a model wants before a text, if any."""
    return [generation["bos"]] if generation["addBos"] and generation["bos"] is not None else []


def _made(example: Example, said: list[list[int]], generation: Mapping, place: int) -> Tokens:
    """An example of what its parts became. What it teaches ends with the token that ends a text or a turn, so that the model learns where
    texts end; of a blank one nothing is learned.
    """
    pair = not isinstance(example, str)
    text = example["output"] if pair else example
    if pair and generation.get("chatTemplate"):
        before, learned = _turn(*said, generation["eos"])
    else:
        *inputs, learned = said
        before = [*start(generation), *(i for ids in inputs for i in ids)]
        learned = [*learned, *generation["eos"][:1]] if learned else []
    ids = np.array([*before, *(learned if text.strip() else [])], np.int32)
    counts = np.arange(len(ids)) >= max(len(before), 1)  # nothing foretells a first token
    return Tokens(ids, counts, len(text.encode("utf-8", "replace")), pair, place)


def _turn(prompt: list[int], whole: list[int], ends: Sequence[int]) -> tuple[list[int], list[int]]:
    """(asked, answered) of a chat. The answer begins where the whole differs from a prompt that waits for one, and ends with the first
    token that ends a turn.
    """
    same = next(
        (i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), min(len(prompt), len(whole))
    )
    last = next((i for i in range(same, len(whole)) if whole[i] in ends), len(whole) - 1)
    return whole[:same], whole[same : last + 1]


def mask_token(tokenizer: TextTokenizer) -> int:
    """The token that stands for a hidden one. Raises NoMaskToken."""
    found = next((tokenizer.special[name].id for name in MASKS if name in tokenizer.special), None)
    if found is None:
        raise NoMaskToken(f"The model's tokenizer has none of {', '.join(MASKS)}. Train with the causal objective.")
    return found
