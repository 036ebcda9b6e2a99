"""Messages to a prompt by the model's own chat template. Runs where jinja2 is; twin of `web/text/chat.js`, tied by `tests/vectors/chat/`.

What a message says can never become a special token: before rendering, special strings inside it are broken by a noncharacter
(U+FDD0 to U+FDEF) that occurs nowhere in it; the rendered text is cut at special tokens; the mark is taken out again and each part
encoded plainly.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import InvalidOption, NoChatTemplate
from .encode import TextTokenizer
from .templates import run_template

_NONCHARACTERS = [chr(c) for c in range(0xFDD0, 0xFDF0)]


class Chat(NamedTuple):
    """What a template is given. `options` are its own switches (`enable_thinking`, `documents`); `now` a datetime for templates that
    print the date.
    """

    messages: Sequence[dict]
    add_generation_prompt: bool = True
    tools: Sequence[dict] | None = None
    options: dict | None = None
    now: object = None


def render_chat(generation: dict, chat: Chat) -> str:
    """The prompt's text, as `apply_chat_template` of transformers gives it. `generation`: the content of generation.json.

    Raises NoChatTemplate; MessagesRefused in the template's own words; ChatTemplateInvalid and ChatTemplateRefused for a template
    that is broken or does what none may. Text only: to make tokens of it is not safe, use `tokenize_chat`.
    """
    text, mark = _rendered(generation, chat)
    return text.replace(mark, "")


def tokenize_chat(tokenizer: TextTokenizer, generation: dict, chat: Chat) -> list[int]:
    """The prompt's token ids, begun by the first token once if the model wants it. Raises as `render_chat` does."""
    text, mark = _rendered(generation, chat)
    ids = tokenizer.encode(text, special=True, mark=mark)
    bos = generation.get("bos")
    wanted = generation.get("addBos") and bos is not None and ids[:1] != [bos]
    return [bos, *ids] if wanted else ids


def _rendered(generation: dict, chat: Chat) -> tuple[str, str]:
    """(the rendered text, the mark in it)."""
    if not generation.get("chatTemplate"):
        name = generation.get("name") or "This model"
        raise NoChatTemplate(f"{name} has no chat template. Complete a prompt with it, or take a model made for chats.")
    data = {"messages": chat.messages, "tools": chat.tools} | (chat.options or {})
    mark = _unused(data)
    breaker = _Breaker(generation.get("special") or {}, mark)
    values = (
        _names(generation)
        | {k: breaker.data(v) for k, v in data.items()}
        | {"add_generation_prompt": chat.add_generation_prompt}
    )
    return run_template(generation["chatTemplate"], values, chat.now), mark


def _names(generation: dict) -> dict:
    """`bos_token` and `eos_token`, which templates write themselves."""
    text = {i: name for name, i in (generation.get("special") or {}).items()}
    ends = generation.get("eos") or [None]
    return {"bos_token": text.get(generation.get("bos"), ""), "eos_token": text.get(ends[0], "")}


def _unused(data) -> str:
    """A noncharacter that the messages do not hold."""
    said = "".join(_strings(data))
    found = next((c for c in _NONCHARACTERS if c not in said), None)
    if found is None:
        raise InvalidOption(
            "The messages hold every noncharacter from U+FDD0 to U+FDEF: none is left to work with. Take one of them out."
        )
    return found


def _strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


class _Breaker:
    """Puts the mark into special strings, and where a text's edge could be a part of one that its neighbour completes."""

    def __init__(self, special: dict, mark: str):
        self._special = sorted((s for s in special if len(s) > 1), key=len, reverse=True)
        self._starts = tuple({s[:n] for s in self._special for n in range(1, len(s))})
        self._ends = tuple({s[n:] for s in self._special for n in range(1, len(s))})
        self._mark = mark

    def data(self, value):
        """`value` (JSON data) with all its texts broken; names of fields stay. Raises InvalidOption for what is no JSON data."""
        if isinstance(value, str):
            return self._text(str(value))
        if isinstance(value, dict):
            return {str(key): self.data(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(item) for item in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        raise InvalidOption(
            f"A message holds a {type(value).__name__}; texts, numbers, lists and objects can be rendered."
        )

    def _text(self, text: str) -> str:
        for special in self._special:
            text = text.replace(special, special[0] + self._mark + special[1:])
        start, end = len(text) - len(text.lstrip()), len(text.rstrip())
        if text[:end].endswith(self._starts):
            text = text[:end] + self._mark + text[end:]
        if text[start:].startswith(self._ends):
            text = text[:start] + self._mark + text[start:]
        return text
