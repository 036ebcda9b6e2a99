"""Rotary frequencies of a model at a context length, with the scalings that stretch a context. Runs anywhere; imports no NumPy.

Each row of SCALINGS turns the plain frequencies base^(-2i/d) (Su et al. 2021) into (radians per position, magnitude of cos and sin).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import MetadataContradicts, NotSupported
from .metadata import Metadata

FREQS, LONG, SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
VALUES = (FREQS, LONG, SHORT)  # tensors whose numbers the frequencies depend on
Scaled = tuple[list[float], float]


@dataclass(frozen=True)
class Rope:
    """What the metadata says of positions. `original`: the context before stretching; `context`: the one compiled for."""

    kind: str
    base: float
    size: int  # values of a head that turn
    factor: float
    original: int
    context: int
    attention: float  # magnitude that the file gives, 0: none
    yarn_attention: float
    beta_fast: float
    beta_slow: float
    values: Mapping[str, Sequence[float]]

    def plain(self, base: float = 0.0) -> list[float]:
        """base^(-2i/d) for i = 0 .. d/2 - 1."""
        return [(base or self.base) ** (-2 * i / self.size) for i in range(self.size // 2)]


def frequencies(metadata: Metadata, size: int, context: int, values: Mapping[str, Sequence[float]]) -> Scaled:
    """(size / 2 radians per position, magnitude). `values`: the numbers of VALUES' tensors that the file has.
    Raises MetadataContradicts or NotSupported.
    """
    rope = read(metadata, size, context, values)
    if rope.kind not in SCALINGS:
        raise NotSupported(f"Rope scaling {rope.kind!r} is not known; the engine knows {', '.join(SCALINGS)}.")
    rates, magnitude = SCALINGS[rope.kind](rope)
    if FREQS in values:  # Llama 3's stretching comes as one divisor per frequency
        rates = _divided(rates, FREQS, values)
    return rates, magnitude * (rope.attention or 1.0)


def read(m: Metadata, size: int, context: int, values: Mapping[str, Sequence[float]]) -> Rope:
    """The `rope.*` keys. Files need not name a type: divisors by context mean LongRoPE (Phi-3), a factor alone linear scaling."""
    trained = m.integer("{arch}.context_length", 1, 1 << 24)
    linear = m.number("{arch}.rope.scale_linear", 1e-3, 1e6, 0.0)
    return Rope(
        kind=m.text("{arch}.rope.scaling.type", "longrope" if LONG in values else "linear"),
        base=m.number("{arch}.rope.freq_base", 2.0, 1e12, 10_000.0),
        size=size,
        factor=m.number("{arch}.rope.scaling.factor", 1e-3, 1e6, linear) or 1.0,
        original=m.integer("{arch}.rope.scaling.original_context_length", 1, 1 << 24, trained),
        context=context,
        attention=m.number("{arch}.rope.scaling.attn_factor", 0, 1e6, 0.0),
        yarn_attention=m.number("{arch}.rope.scaling.yarn_attn_factor", 0, 1e6, 0.0),
        beta_fast=m.number("{arch}.rope.scaling.yarn_beta_fast", 1e-6, 1e6, 32.0),
        beta_slow=m.number("{arch}.rope.scaling.yarn_beta_slow", 1e-6, 1e6, 1.0),
        values=values,
    )


def none(rope: Rope) -> Scaled:
    return rope.plain(), 1.0


def linear(rope: Rope) -> Scaled:
    """Positions divided by the factor (Chen et al. 2023)."""
    return [f / rope.factor for f in rope.plain()], 1.0


def dynamic(rope: Rope) -> Scaled:
    """NTK-aware: a larger base, so that the fastest pairs stay and the slowest stretch (bloc97 2023); by how far `context` exceeds."""
    stretch = rope.factor * max(rope.context, rope.original) / rope.original - (rope.factor - 1)
    return rope.plain(rope.base * stretch ** (rope.size / max(rope.size - 2, 1))), 1.0


def yarn(rope: Rope) -> Scaled:
    """YaRN (Peng et al. 2023): pairs that turn often within the original context stay, slow ones are divided, a ramp between."""

    def pair(rotations: float) -> float:
        return rope.size * math.log(rope.original / (rotations * 2 * math.pi)) / (2 * math.log(rope.base))

    low, high = max(math.floor(pair(rope.beta_fast)), 0), min(math.ceil(pair(rope.beta_slow)), rope.size - 1)
    ramp = [min(max((i - low) / max(high - low, 0.001), 0.0), 1.0) for i in range(rope.size // 2)]
    rates = [f * (1 - r) + f / rope.factor * r for f, r in zip(rope.plain(), ramp, strict=True)]
    return rates, rope.yarn_attention or (0.1 * math.log(rope.factor) + 1.0 if rope.factor > 1 else 1.0)


def longrope(rope: Rope) -> Scaled:
    """LongRoPE (Ding et al. 2024): a divisor per pair, of two sets: one for contexts within the original, one beyond."""
    name = LONG if rope.context > rope.original else SHORT
    return (_divided(rope.plain(), name, rope.values) if name in rope.values else rope.plain()), 1.0


SCALINGS: dict[str, Callable[[Rope], Scaled]] = {f.__name__: f for f in (none, linear, dynamic, yarn, longrope)}


def _divided(rates: list[float], name: str, values: Mapping[str, Sequence[float]]) -> list[float]:
    divisors = values[name]
    if len(divisors) != len(rates) or not all(0 < d < math.inf for d in divisors):
        raise MetadataContradicts(
            f"{name} must hold {len(rates)} positive numbers, found {len(divisors)}: {list(divisors)[:4]}."
        )
    return [f / d for f, d in zip(rates, divisors, strict=True)]
