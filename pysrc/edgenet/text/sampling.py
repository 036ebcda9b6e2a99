"""How a request says that tokens are drawn, checked; the words the sampling kernel reads. Pure; twin of `web/engine/lm/sampling.js`."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from ..errors import InvalidOption

WORDS, HISTORY, GREEDY = 16, 256, 1
_WHOLE = 2**53 - 1


def _number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _between(low: float, high: float) -> tuple[str, Callable]:
    return f"a number from {low:g} to {high:g}", lambda v: _number(v) and low <= v <= high


def _whole(low: int, high: int = _WHOLE) -> tuple[str, Callable]:
    most = "" if high == _WHOLE else f" to {high}"
    return f"a whole number from {low}{most}", lambda v: type(v) is int and low <= v <= high


# option → (what it may be, test)
CHECKS: dict[str, tuple[str, Callable]] = {
    "max_tokens": ("a whole number from 1, or None", lambda v: v is None or _whole(1)[1](v)),
    "temperature": _between(0, 100),
    "top_k": _whole(0, 2**31 - 1),
    "top_p": _between(0, 1),
    "min_p": _between(0, 1),
    "repetition_penalty": _between(0.01, 100),
    "frequency_penalty": _between(-100, 100),
    "presence_penalty": _between(-100, 100),
    "seed": _whole(0),
    "stop_sequences": (
        "texts that are not empty",
        lambda v: isinstance(v, (tuple, list)) and all(isinstance(s, str) and s for s in v),
    ),
}


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. `temperature` 0: always the likeliest token; `top_k` 0: all; `max_tokens` None: until the model or the
    context ends. Raises InvalidOption naming the option, what was found and what it may be.
    """

    seed: int
    max_tokens: int | None = None
    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    stop_sequences: Sequence[str] = ()

    def __post_init__(self):
        for field in fields(self):
            expected, test = CHECKS[field.name]
            if not test(value := getattr(self, field.name)):
                raise InvalidOption(f"{field.name} must be {expected}, found {value!r}.", option=field.name)

    def row(self, step: int, tokens: Sequence[int]) -> tuple[bytes, list[int]]:
        """(16 little-endian words, the tokens that penalties see) of one draw, before which `step` were drawn."""
        penalised = self.repetition_penalty != 1 or self.frequency_penalty or self.presence_penalty
        history = list(tokens[-HISTORY:]) if penalised else []
        low, high = self.seed & 0xFFFFFFFF, self.seed >> 32
        return (
            struct.pack(
                "<fIfffffIIIII4x12x",
                self.temperature, self.top_k, self.top_p, self.min_p,
                self.repetition_penalty, self.frequency_penalty, self.presence_penalty,
                low, high, step, len(history), GREEDY if self.temperature == 0 else 0,
            ),
            history,
        )  # fmt: skip
