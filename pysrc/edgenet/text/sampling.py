"""How a request says that tokens are drawn, checked; the words the sampling kernel reads. Pure; twin of `web/engine/lm/sampling.js`."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ..options import Check, between, check_options, whole

WORDS, HISTORY, GREEDY = 16, 256, 1

# option → (what it may be, test)
CHECKS: dict[str, Check] = {
    "max_tokens": ("a whole number from 1, or None", lambda v: v is None or whole(1)[1](v)),
    "temperature": between(0, 100),
    "top_k": whole(0, 2**31 - 1),
    "top_p": between(0, 1),
    "min_p": between(0, 1),
    "repetition_penalty": between(0.01, 100),
    "frequency_penalty": between(-100, 100),
    "presence_penalty": between(-100, 100),
    "seed": whole(0),
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
        check_options(self, CHECKS)

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
